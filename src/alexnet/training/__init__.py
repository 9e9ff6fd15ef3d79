"""From a configuration to a trained and evaluated network: `alexnet.training.run.run`."""
