"""Changes of weights at sites: rank-one edits and constrained training, with their cost, undone on exit.

A site names a block of weights as it names an activation, so that what an effect study finds is edited by
copying a line: `lm/mlp.5` is the MLP of layer 5. What an edit gives is a `Change`: new values of some
parameters. `Change.applied` is a context in which a model has them, and after which every bit is as before;
`Change.folded` writes a folder that `from_pretrained` loads.

    solve        the arithmetic: rank-one and least-squares updates, their cost, what they do to other keys
    weights      from sites to parameters
    change       what every edit gives
    keys         what an MLP reads and gives at a fact's subject, and second moments of what it reads
    values       the output that an MLP should give, by gradient
    rank_one     ROME and r-ROME, at a layer that a rule chooses
    memit        many facts, several layers
    losses       what constrained training minimises
    training     training of chosen blocks, all else frozen
"""
