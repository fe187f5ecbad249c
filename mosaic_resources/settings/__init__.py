"""Where everything is: one immutable object made from a target and the environment."""
