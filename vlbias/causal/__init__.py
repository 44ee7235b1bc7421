"""The engine: potential outcomes of a staged model, exactly and without redoing what cannot change.

Read in this order:

1. `example`, `contrast`, `site`: a sample in its worlds, two worlds, a place in a model.
2. `staged_model`: what a model must provide. `conformance` checks that it does.
3. `engine`: from examples to potential outcomes. It collects the distinct rows of the two worlds
   (`contrast_rows`, `tower_rows`), has each tower swept, and joins the towers.
4. `sweep`: all mediators of one tower. Its jobs are made by `mediator_jobs` and `unit_jobs`.
5. `tape`: one pass is recorded, then resumed behind a replacement. `call_order` knows the order of
   modules, `resumption` what runs again, `patching` how a value is written at a site.

The rest saves work and moves no number beyond rounding: `joint_pass`, `entry_groups`, `unit_batch`,
`distinct_jobs`, `shared_prefix`, `shared_beginnings`, `distinct`. Adapters share `cosine_join` and
`detection_readout`.
`attribution` stands apart: it is only approximate.
"""
