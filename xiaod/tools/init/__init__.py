"""``xiaod init``: a first configuration, from the streams of a server.

::

    instruments     channels of a server -> one instrument of each station
    draft           its streams -> a configuration
    text            a configuration -> commented YAML, with every key
    commented_yaml  keys, comments and values -> lines
"""
