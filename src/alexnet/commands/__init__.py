"""Commands of `alexnet` about trained networks, a module each: `add` names its arguments, the rest does the work."""
