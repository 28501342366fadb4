"""MiniWoB++: the small pages of the package `miniwob`, with their own utterances and rewards.

`make.miniwob_env` is the entry point of every ``agentgym/MiniWoB-…`` id; `task.MiniWobTask` is what all tasks share;
`kinds` has one file a kind of task, with milestones, progress, an oracle and an offender for its variants.
"""
