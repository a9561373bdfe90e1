"""Every torch.autograd.Function, and the decision whether one is used at all: a file for each noun.

Only here does ``ctx`` appear. One rule throughout: save the INPUTS and compute from them in
backward, so that no order of derivative rests on something that forward made.
"""
