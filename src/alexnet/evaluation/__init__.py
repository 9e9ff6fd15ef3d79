"""What a trained network says: views of the test images, errors, predictions."""
