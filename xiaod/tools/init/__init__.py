"""``xiaod init``: a first configuration, from what a server has.

::

    choice   what a server offers -> one instrument of each station
    text     a configuration -> commented YAML, with every key
"""
