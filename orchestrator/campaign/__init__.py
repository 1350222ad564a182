"""YAML → Campaign, or every problem with file, line, field and fix; and versions of what was launched.

load.py        load_bundle: a campaign with the segments and templates it uses, checked together
version.py     the Bundle as one canonical JSON text, stored under its hash
spec.py        the Campaign the rest of the house uses
reading.py     YAML text → Document: data that remembers its lines (document.py)
form.py        the fields of a file (pydantic), of the words in words.py; complaints.py puts its errors into ours
parse.py       form → Campaign
segments.py, templates.py   what a campaign names, read and checked
schema.py      JSON Schema for editors
"""
