"""The title and question of each experiment and study, in the order of the page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """The title of a section and the question below it."""

    title: str
    question: str


ABOUT = {
    "paper/depth_output": About(
        "Depth: outputs",
        "Is a Neural ODE the limit of deep ResNets? Outputs of a ResNet with L layers are compared with "
        "those of the Neural ODE with the same weights, for L from 10 to 1,000.",
    ),
    "paper/depth_gradient": About(
        "Depth: gradients",
        "Do the two methods for the gradient agree? Discretise, then optimise (the ResNet's gradient) and "
        "optimise, then discretise (the adjoint in L steps) are compared with the Neural ODE's gradient.",
    ),
    "paper/width_ntk": About(
        "Width: NTK",
        "How far is the NTK of a network of width n from its infinite-width limit, and how fast does the "
        "distance decrease?",
    ),
    "paper/width_nngp": About(
        "Width: NNGP",
        "How far is the kernel of the outputs of a network of width n from that of the limiting Gaussian "
        "process?",
    ),
    "paper/gaussianity": About(
        "Gaussian outputs",
        "Are the outputs of wide networks Gaussian over random initialisations, and independent of each "
        "other? Narrow networks, for which the tests must reject, check the power of the tests.",
    ),
    "paper/kernel_positivity": About(
        "Positive definite kernels",
        "Which activations make the NTK positive definite? The data include hard cases: more samples than "
        "features, and pairs of samples x and −x.",
    ),
    "paper/training_width": About(
        "Training by width",
        "Does gradient descent converge linearly, does λ_min stay away from 0, and do kernel and parameters "
        "change less in wider networks?",
    ),
    "paper/activation": About(
        "Activations",
        "Does a smooth activation train better? Seven activations at σ = 1, and at scales that match output "
        "variance and NTK.",
    ),
    "paper/activation_gradient": About(
        "Effect of the gradient's error",
        "relu's gradient is inaccurate. Does that slow its training? Backprop is compared with the "
        "kink-averaged adjoint.",
    ),
    "paper/activation_polynomial": About(
        "Must φ be non-polynomial?",
        "Linear and quadratic activations are compared with tanh, with more images than pixels: rank, "
        "λ_min, convergence.",
    ),
    "paper/horizon": About(
        "Horizon",
        "Does scaling by 1/T keep the output variance and the training stable for long horizons T?",
    ),
    "paper/datasets": About(
        "Data sets",
        "Are convergence, λ_min and drift on CIFAR-10, AG News and Daily Climate similar to MNIST?",
    ),
    "width_limit": About(
        "The limit of width",
        "How far are kernels of a network from their infinite-width limits, before training and after it?",
    ),
    "depth_limit": About(
        "The limit of depth",
        "How far are outputs, NTK and gradients of a ResNet from those of the Neural ODE with its weights?",
    ),
    "gaussianity": About(
        "Outputs over initialisations", "What is the distribution of the outputs over random initialisations?"
    ),
    "kernel_positivity": About("λ_min of kernels", "Where is the NTK positive definite?"),
    "gradient_accuracy": About(
        "Accuracy of gradients",
        "What does an accurate gradient cost? The error by activation, number of steps and method.",
    ),
    "gradient_tolerance": About(
        "Tolerance and gradient",
        "How accurate is the gradient at a given tolerance of an adaptive solver?",
    ),
    "gradient_smoothing": About(
        "From smooth to kinked",
        "Softplus of increasing sharpness approaches relu: when is the solver's order reached?",
    ),
    "gradient_kinks": About(
        "Kinks", "Kinks limit the gradient's error to order 1. Does averaging over them restore order 2?"
    ),
    "gradient_training": About(
        "Training with wrong gradients", "How wrong may a gradient be before training suffers?"
    ),
    "advice/gradient": About(
        "Evidence for advice: solver",
        "How many steps does an accurate gradient need, by activation and horizon?",
    ),
    "advice/kinks": About(
        "Evidence for advice: kinks", "How much accuracy does averaging over relu's kinks add?"
    ),
    "advice/training": About(
        "Evidence for advice: accuracy", "How wrong may a gradient be before training suffers?"
    ),
    "training": About(
        "Training", "How do loss, λ_min, gradient error and NTK develop while the models train?"
    ),
    "smoke": About("Smoke benchmark", "Is every metric present and finite?"),
}
"""Title and question by the name of an experiment or study in conf/."""


def about(name: str) -> About:
    """Title and question of an experiment or study; an unknown one gets its name as title."""
    return ABOUT.get(name) or About(name, "")


def place(name: str) -> int:
    """The position of an experiment or study on the page; unknown ones come last."""
    return [*ABOUT].index(name) if name in ABOUT else len(ABOUT)
