"""The audience: who there is, how to reach them, what they did and agreed to, and which of them a segment means.

A file or a request becomes rows (:mod:`importing`, :mod:`events`, :mod:`people`); a segment becomes SQL
(:mod:`condition` is the language, :mod:`segment_sql` the translation, :mod:`segment` the door); :mod:`facts` is what
templates may say of a user.
"""
