"""Template + facts → payload per channel.

    templates.py   TemplateSet: the files of a campaign, all their problems, and rendering with locale fallback
    files.py       which files there are, what their names mean, how a push file is laid out
    defaults.py    defaults.yaml: what stands in for a fact a user does not have
    program.py     one text compiled: parse → survey → rewrite → compile → run within a budget
    survey.py      what a template may contain, and which facts it uses
    rewrite.py     the guards put around what is left
    budget.py      how much one render may do
    filters.py     the filters, each bounded;  formats.py: money and dates by locale
    mask.py       tags out of the way while markup.py compiles MJML and inlines CSS;  plain.py: a mail's text part
    links.py      the signed links of a message;  skeleton.py: where they are, once for all mails of one shape
    clean.py       control and bidi characters out
    sms.py         parts as they are billed;  push.py: bytes as they are counted

Template authors are colleagues, but a template is a program: nothing in it reaches a Python object, and none of it can
take more than a quarter of a second or a few megabytes.
"""
