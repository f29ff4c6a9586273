"""What each experiment and study asks, in the order in which the page tells them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """A section's heading, and the question beneath it."""

    title: str
    question: str


ABOUT = {
    "paper/depth_output": About(
        "Depth: outputs",
        "Is a Neural ODE the limit of deep ResNets? Outputs of a ResNet with L layers are set against "
        "those of the Neural ODE with the same weights, while L grows from 10 to 1,000.",
    ),
    "paper/depth_gradient": About(
        "Depth: gradients",
        "Do the two ways to a gradient agree? Discretise, then optimise (the ResNet's own gradient) and "
        "optimise, then discretise (the adjoint in L steps) are set against the Neural ODE's gradient.",
    ),
    "paper/width_ntk": About(
        "Width: NTK",
        "How far is the NTK of a network of width n from its infinite-width limit, and how fast does the "
        "distance fall?",
    ),
    "paper/width_nngp": About(
        "Width: NNGP",
        "The same for the kernel of the Gaussian process that the outputs tend to: its distance from the "
        "limit by width.",
    ),
    "paper/gaussianity": About(
        "Gaussian outputs",
        "Are the outputs over random initialisations Gaussian, and outputs of one network independent of "
        "each other, once it is wide? Narrow networks, in which a test must reject, show the tests' power.",
    ),
    "paper/kernel_positivity": About(
        "Positive definite kernels",
        "Which activations make the NTK positive definite? Data that make it hard: more samples than "
        "features, and samples that come with their negatives.",
    ),
    "paper/training_width": About(
        "Training by width",
        "Does gradient descent converge linearly, does λ_min stay away from 0, and do kernel and parameters "
        "change less the wider the network?",
    ),
    "paper/activation": About(
        "Activations",
        "Does a smooth activation train better? Seven activations at the model's own scales, and at scales "
        "that are matched in output variance and NTK.",
    ),
    "paper/activation_gradient": About(
        "Does the gradient's error show?",
        "relu's gradient is inaccurate. Does that slow its training? Backprop against the kink-averaged "
        "adjoint.",
    ),
    "paper/activation_polynomial": About(
        "Must φ be non-polynomial?",
        "Linear and quadratic activations against tanh with more images than pixels: rank, λ_min, "
        "convergence.",
    ),
    "paper/horizon": About(
        "Horizon",
        "Does scaling by 1/T keep the outputs' variance and the training stable while the horizon T grows?",
    ),
    "paper/datasets": About(
        "Data sets",
        "Do convergence, λ_min and drift on CIFAR-10, AG News and Daily Climate go as on MNIST?",
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
        "Outputs over initialisations", "What law do the outputs follow over random initialisations?"
    ),
    "kernel_positivity": About("λ_min of kernels", "Where is the NTK positive definite?"),
    "gradient_accuracy": About(
        "Accuracy of gradients",
        "What does an accurate gradient cost? Its error by activation, steps and method.",
    ),
    "gradient_tolerance": About(
        "Tolerance and gradient",
        "What does an adaptive solver's tolerance promise, and what does the gradient get?",
    ),
    "gradient_smoothing": About(
        "From smooth to kinked", "Softplus on its way to relu: when does the solver's order come back?"
    ),
    "gradient_kinks": About(
        "Kinks", "Kinks hold the gradient's error at order 1. Does averaging over them restore order 2?"
    ),
    "gradient_training": About(
        "Training with wrong gradients", "How wrong may a gradient be before training suffers?"
    ),
    "advice/gradient": About(
        "Evidence for advice: solver",
        "By activation and horizon, how many steps does an accurate gradient take?",
    ),
    "advice/kinks": About("Evidence for advice: kinks", "What does averaging over relu's kinks buy?"),
    "advice/training": About(
        "Evidence for advice: accuracy", "How wrong may a gradient be before training suffers?"
    ),
    "training": About(
        "Training", "How do loss, λ_min, gradient error and NTK develop while the models train?"
    ),
    "smoke": About("Smoke benchmark", "Is every metric there, and finite?"),
}
"""By the name of an experiment or study in conf/."""


def about(name: str) -> About:
    """Of an experiment or study; one that is unknown has its name for a title."""
    return ABOUT.get(name) or About(name, "")


def place(name: str) -> int:
    """In the page's order; what is unknown comes last."""
    return [*ABOUT].index(name) if name in ABOUT else len(ABOUT)
