"""The evaluation suite: compares pickers on the same data, and writes tables and figures for a paper.

``xiao-distill report --config distill/evaluation.yaml --output FOLDER`` writes ``report.html``, ``numbers.csv``, LaTeX tables and
figures. The parts: :mod:`~distill.report.config` the configuration, :mod:`~distill.report.contenders` the pickers,
:mod:`~distill.report.windows` the windows, :mod:`~distill.report.scoring` accuracy, :mod:`~distill.report.trials`
damaged data, close events and noise, :mod:`~distill.report.latency` accuracy against delay, :mod:`~distill.report.sizes`
accuracy against size and cost, :mod:`~distill.report.figures` and :mod:`~distill.report.pages` the output.

"""
