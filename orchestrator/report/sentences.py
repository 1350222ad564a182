"""What may be said of a report's numbers, in whole sentences, English and Chinese; and what must be said of them."""

from __future__ import annotations

from orchestrator.report.codes import Phrase
from orchestrator.report.findings import LIMITS, Finding, Findings, Guard, Verdict
from orchestrator.report.values import Tally
from orchestrator.report.words import LEVEL, number, per_cent, points, span_words, word


def headline(found: Findings, locale: str) -> str:
    """The one sentence that the report stands for: all who were treated, against the holdout."""
    people = Phrase("Members who were meant to get a message", "计划接收消息的成员")
    if not found.overall.group.eligible:
        return Phrase("Nobody has been reached yet.", "目前还没有进入统计的成员。").in_(locale)
    return sentence(found.overall, people.in_(locale), locale)


def arm_sentence(finding: Finding, locale: str) -> str:
    """What may be said of one arm."""
    name = finding.group.name
    return sentence(finding, Phrase(f"Members of arm {name}", f"实验组 {name} 的成员").in_(locale), locale)


def sentence(finding: Finding, people: str, locale: str) -> str:
    """What may be said of ``people``, and no more than may be said."""
    return _sentence(finding, people).in_(locale)


def _sentence(finding: Finding, people: str) -> Phrase:
    rate = per_cent(finding.rate.rate)
    if finding.verdict is Verdict.NO_HOLDOUT:
        return Phrase(
            f"{people} came back at a rate of {rate}; nobody was held out, so nobody knows how many would have anyway.",
            f"{people}回访率为 {rate}；未设对照组，无法知道其中多少人本来就会回来。",
        )
    if finding.difference is None:
        return Phrase(
            f"{people} came back at a rate of {rate}; there are not enough people yet to say whether that is more than "
            "without a message.",
            f"{people}回访率为 {rate}；目前人数不足，无法判断是否高于不发消息的情形。",
        )
    gap = finding.difference
    low, high = (f"{end * 100:.1f}".replace("-", "−") for end in (gap.low, gap.high))
    if finding.verdict is Verdict.UNCLEAR:
        return Phrase(
            f"{people}: no difference to those held out can be told "
            f"({points(gap.points)} points; {LEVEL}: {low} to {high}).",
            f"{people}与对照组之间尚看不出差别（{points(gap.points)} 个百分点；95%：{low} 至 {high}）。",
        )
    more = finding.verdict is Verdict.MORE
    size = f"{abs(gap.points) * 100:.1f}"
    if not more:
        low, high = (f"{-end * 100:.1f}" for end in (gap.high, gap.low))
    return Phrase(
        f"{people} came back {size} points {'more' if more else 'less'} often than those held out "
        f"({LEVEL}: {low} to {high}).",
        f"{people}的回访率比对照组{'高' if more else '低'} {size} 个百分点（95%：{low} 至 {high}）。",
    )


def lasting_sentence(found: Findings, locale: str) -> str:
    """What holds however often it is looked at, and how much these numbers could show at all; may be nothing."""
    said: list[Phrase] = []
    gap = found.overall.sequential
    if gap is not None:
        ends = f"{points(gap.low)} … {points(gap.high)}"
        said.append(
            Phrase(
                f"Looked at every day, it is safe to say: {ends} points"
                f"{', so there is a difference.' if gap.clear else ', so not yet whether there is a difference.'}",
                f"若每天查看，可以放心说的是：{ends} 个百分点"
                f"{'，即确有差别。' if gap.clear else '，即尚不能断定有无差别。'}",
            )
        )
    if found.detectable is not None:
        size = f"{found.detectable * 100:.1f}"
        said.append(
            Phrase(
                f"With so many people a true difference of {size} points would show in four of five such campaigns.",
                f"以目前人数，真实差别达 {size} 个百分点时，五次中约有四次能看出。",
            )
        )
    return (" " if locale == "en" else "").join(phrase.in_(locale) for phrase in said)


def guard_caveats(found: Findings) -> list[Phrase]:
    """Guardrails that are crossed, each with the arms that crossed it."""
    crossed: dict[str, list[str]] = {}
    for row in found.arms:
        for harm in row.harms:
            if harm.guard is Guard.CROSSED:
                crossed.setdefault(harm.kind, []).append(f"{row.group.name} {per_cent(harm.rate.rate)}")
    return [
        Phrase(
            f"Guardrail crossed: {word(kind, 'en')} more than {per_cent(LIMITS[kind])} ({', '.join(arms)}). "
            "Pause and look why.",
            f"突破护栏：{word(kind, 'zh')}率高于 {per_cent(LIMITS[kind])}（{'，'.join(arms)}）。请先暂停并查明原因。",
        )
        for kind, arms in crossed.items()
    ]


def caveats(tally: Tally, found: Findings, locale: str) -> list[str]:
    """What a careful reader has to know before believing the headline."""
    said: list[Phrase] = []
    waiting, still_open = tally.waiting, sum(group.open for group in tally.groups)
    if found.split and found.split.mismatch:
        said.append(
            Phrase(
                f"The groups are not of the sizes intended (p = {found.split.p:.1g}): something sorts people between "
                "assignment and here. Do not compare them before that is found.",
                f"各组人数与设定比例不符（p = {found.split.p:.1g}）：分组之后有环节筛选了用户，查明之前请勿比较。",
            )
        )
    said += guard_caveats(found)
    if tally.launched.run is not None:
        said.append(
            Phrase(
                "One run alone: its members may have had messages of earlier runs.",
                "仅此一个批次：其成员可能已收到过此前批次的消息。",
            )
        )
    if still_open:
        span = span_words(tally.launched.within, "en"), span_words(tally.launched.within, "zh")
        said.append(
            Phrase(
                f"{number(still_open)} members can still come back within their {span[0]}: the rates are not final.",
                f"{number(still_open)} 名成员仍在其 {span[1]} 目标时限内：回访率尚非最终值。",
            )
        )
    if waiting:
        said.append(
            Phrase(
                f"{number(waiting)} planned members are not counted yet: the run has not opened in their zone.",
                f"{number(waiting)} 名已计划成员尚未计入：批次在其时区还未开启。",
            )
        )
    if not tally.adds_up:
        said.append(
            Phrase(
                "The members do not add up to the audience: run `orchestrator doctor` and do not trust this report.",
                "成员数与目标人群不一致：请运行 `orchestrator doctor`，暂勿采信本报告。",
            )
        )
    return [phrase.in_(locale) for phrase in said]


def hours_sentence(tally: Tally, locale: str) -> str:
    """Whether anything left outside the window, in words."""
    spent = tally.hours
    windows = openings_words(tally)
    if not spent.requests:
        return Phrase("Nothing has left yet.", "尚未发出任何消息。").in_(locale)
    several = Phrase("", "")
    if spent.several:
        several = Phrase(
            f" {number(spent.several)} went to members whose zone is not known exactly and are not drawn; "
            "they are held to the window in every zone they could be in.",
            f" 其中 {number(spent.several)} 次发往时区不确切的成员，未画出；按其所有可能时区核对发送时段。",
        )
    requests = number(spent.requests)
    if spent.outside is None:
        return Phrase(f"{requests} requests.{several.en}", f"共 {requests} 次请求。{several.zh}").in_(locale)
    if spent.outside:
        bad = number(spent.outside)
        return Phrase(
            f"{bad} of {requests} requests left OUTSIDE the recipient's own window.{several.en}",
            f"{requests} 次请求中有 {bad} 次在收件人发送时段之外发出！{several.zh}",
        ).in_(locale)
    return Phrase(
        f"All {requests} requests left inside {windows} of the recipient's own day, and inside the narrower window of "
        f"an arm or step that has one; none was outside.{several.en}",
        f"全部 {requests} 次请求都在收件人当地 {windows} 内发出"
        f"（实验组或步骤另有时段的，以其为准），无一例外。{several.zh}",
    ).in_(locale)


def openings_words(tally: Tally) -> str:
    """``10:30–11:45, 11:15–11:45``."""
    return ", ".join(f"{_clock(start)}–{_clock(end)}" for start, end in tally.hours.openings)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
