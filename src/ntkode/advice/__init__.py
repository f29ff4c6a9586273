"""Advice on how to train a Neural ODE on a data set, from infinite-width theory and stored runs."""
