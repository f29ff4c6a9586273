"""Print the profile of the activations and draw φ, φ' and φ''."""

from ntkode.cli.activations import main

if __name__ == "__main__":
    main()
