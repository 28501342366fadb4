"""Reward models: what is learnt or asked for. They read columns; torch is loaded when a network is first made."""
