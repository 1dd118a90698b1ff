"""Everything that computes: faces, labels, model, training, evaluation, publishing."""
