"""What a correct KVM may show of a case, told independently of the model."""
