"""What a worker answers over HTTP, and the console page that shows it.

* ``endpoints``: every address once, with its types; ``shapes``: the types; ``openapi``: the
  document made of both.
* ``ports``: where the answers come from. ``members``, ``figures``, ``muting``, ``stream``,
  ``console``: the answers themselves.
* ``access``: who may ask; ``replying``: how answers and refusals look; ``server``: the port;
  ``door``: plain questions for a member, answered before anything else is made of them.
"""
