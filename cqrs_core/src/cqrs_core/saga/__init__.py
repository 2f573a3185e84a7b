"""
Sagas: steps that are all done in the end, or all undone, whatever process dies meanwhile.

General layout, in the order in which a saga travels: ``steps`` and ``definition`` are what programs write,
``saga_map`` knows which context means which saga, ``mediator`` starts one, and ``engine`` drives it: ``execution`` does
its steps, ``compensation`` undoes them, ``journal`` makes both durable, ``leases`` keep others away meanwhile;
``recovery`` and ``worker`` go on with what others have left. What comes next is decided by ``plan``, which does nothing
else; what is kept is said by ``storage`` and ``log``. ``administration`` is for people.
"""
