"""The statistics of decisions in use: evidence that may be looked at after every conversation.

Evidence is an e-value, told as its natural logarithm: while nothing differs, it ever reaches ``1/alpha`` with probability
``alpha`` at most, at whatever number of looks (Ville's inequality; Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic
statistics and safe anytime-valid inference", Statistical Science 38, 2023). The unit of all of it is the conversation: the
turns of one are no independent observations, and counted as such they raise several times the false alarms.
"""
