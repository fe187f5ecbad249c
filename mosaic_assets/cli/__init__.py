"""The ``mosaic`` command: one file per verb. Heavy parts are imported inside the verbs, so ``--help`` is quick."""
