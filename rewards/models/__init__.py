"""Reward models: what is learnt or asked for. Losses and scores on plain columns; NumPy alone."""
