"""What tests of several rooms share: no test module imports another."""
