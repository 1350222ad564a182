"""A personal letter of some 5 KB of HTML, for benchmarks: eight paragraphs, three links, six facts."""

from __future__ import annotations

_PARAGRAPH = """
<tr><td style="padding:12px 24px;font-family:Helvetica,Arial,sans-serif;font-size:16px;line-height:1.6;color:#222222">
{words}</td></tr>"""
_WORDS = (
    "Hi {{ user.name }}, it has been a while since your last order, and the kitchens near you have not been idle.",
    "You used to like {{ user.favourite }}. Two new places make it, one of them by the people who taught the others.",
    "You have ordered {{ user.orders }} times with us, and {{ user.week_orders }} times in the last week. Thank you.",
    "Your {{ user.points }} points are still there. They buy a dessert, or half a bowl of {{ user.favourite }}.",
    '<a href="https://weilai.example/near-you">See what is good near you</a>, before the lunch hour begins.',
    '<a href="https://weilai.example/points">Spend your points</a>, or keep them for a long evening in December.',
    "Nobody likes to be written to too often. We write once a week at most, and never at night where you live.",
    '<a href="https://weilai.example/help">Tell us</a> what went wrong, if something did: a person reads it.',
)
_FOOT = (
    """<a href="{{ preferences_url }}">Choose what you hear from us</a> · <a href="{{ unsubscribe_url }}">Stop</a>"""
)
_HTML = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>News</title>
<style>@media only screen and (max-width:600px) {{% raw %}}{{ table {{ width:100% !important }} }}{{% endraw %}}</style>
</head><body style="margin:0;background-color:#f4f4f1">
<table role="presentation" width="600" align="center" cellpadding="0" cellspacing="0" style="background-color:#ffffff">
{"".join(_PARAGRAPH.format(words=words) for words in (*_WORDS, _FOOT))}
</table></body></html>
"""

NAME = "bench-letter"
FILES = {f"{NAME}/email.j2": f"subject: {{{{ user.name }}}}, your week\n\n{_HTML}"}
"""By path, as a launched version keeps them."""
DEFAULTS = {f"{NAME}/defaults.yaml": "user.week_orders: 2\nuser.points: 30\n"}
