"""Names written without blanks: Chinese, Japanese and Korean, by surname and what stands around it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from llmops_tui.privacy.name_lists import east_asian_names

_HAN = r"[\u4e00-\u9fff]"
_KANA = r"[\u3041-\u309f\u30a1-\u30ff]"
# Characters that stand behind a Chinese name and belong to what follows.
_NOT_GIVEN = "的是在和说了有与及也都就不没要会能去来到从给被把向对又再这那"
_ADDRESSED = "先生|女士|小姐|老师|经理|医生|教授|太太|同学"
_COMPOUND = "欧阳|司马|诸葛|上官|司徒|东方|皇甫|尉迟|公孙|慕容|令狐|夏侯"


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted((re.escape(word) for word in words), key=len, reverse=True))


@cache
def _chinese() -> tuple[re.Pattern[str], ...]:
    surnames, given = east_asian_names("zh_CN")
    family = f"(?:{_COMPOUND}|{_any(one for one in surnames if len(one) == 1 and one not in _NOT_GIVEN)})"
    rest = rf"(?:(?!{_ADDRESSED}|[{_NOT_GIVEN}]){_HAN})"
    return (
        re.compile(
            rf"(?:我叫|名叫|姓名|客户|联系人|收件人|收货人|患者|病人|申请人|经办人|持卡人)(?:[：:是为]\s*)?({family}{rest}{{1,2}})"
        ),
        re.compile(rf"({family}{rest}{{0,2}})(?={_ADDRESSED})"),
        re.compile(rf"(?<!{_HAN})({family}(?:{_any(one for one in given if len(one) > 1)}))(?!{_HAN})"),
    )


@cache
def _japanese() -> tuple[re.Pattern[str], ...]:
    surnames, given = east_asian_names("ja_JP")
    family = f"(?:{_any(surnames)})"
    title = "(?:さん|様|さま|氏|先生|くん|君|ちゃん|殿|です|と申します)"
    own = rf"(?!{title})(?:{_HAN}{{1,3}}|{_KANA}{{2,4}}?)"
    return (
        re.compile(rf"({family}(?:[ \u3000]?{own})?)(?={title})"),
        re.compile(
            rf"(?:お名前|氏名|名前|担当者?|契約者|患者)[：:はの]*\s*({family}[ \u3000]?{own})(?![\u4e00-\u9fff\u3041-\u309f])"
        ),
        re.compile(rf"({family}[ \u3000]?(?:{_any(given)}))(?!{_HAN})"),
        re.compile(rf"([\u30a1-\u30fa\u30fc]{{2,}}・[\u30a1-\u30fa\u30fc]{{2,}})(?={title})"),
    )


@cache
def _korean() -> tuple[re.Pattern[str], ...]:
    surnames, given = east_asian_names("ko_KR")
    family = f"(?:{_any(surnames)})"
    syllable = r"[\uac00-\ud7a3]"
    return (
        re.compile(rf"(?:이름은|성함은|제 이름은|성명[:：]?|고객[:：]|수신인[:：]?|저는)\s*({family}{syllable}{{2}})"),
        re.compile(rf"(?<!{syllable})({family}{syllable}{{2}})(?=\s?(?:씨|님|고객님|선생님|부장|과장|대리|사장|교수))"),
        re.compile(rf"(?<!{syllable})({family}(?:{_any(one for one in given if len(one) > 1)}))(?!{syllable})"),
    )


def find_east_asian_names(text: str) -> Iterator[tuple[int, int]]:
    """Where people are named, as (start, end); forms of address stay outside."""
    if re.search(r"[\uac00-\ud7a3]", text):
        patterns = _korean()
    elif re.search(_KANA, text):
        patterns = _japanese()
    elif re.search(_HAN, text):
        patterns = _chinese()
    else:
        return
    for pattern in patterns:
        for match in pattern.finditer(text):
            yield match.span(1)
