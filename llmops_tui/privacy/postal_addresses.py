"""Postal addresses, as they are written in a dozen countries; no gazetteer is used."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Each pattern is written over several lines: blanks count only as [ ].
# Of bounded length, and hyphens only within: otherwise a long text of hyphens could be cut into words in too many ways.
_CAP = r"[A-ZÀ-ÖØ-ÞŠŽ][\w'’.-]{0,60}"
# Up to five words, before each of which small ones may stand: "de la Constitución", "Jean Jaurès".
_SMALL = r"(?:d[eiou]|de[lrs]?|d['’]|l['’]|la|las|los|le|les|von|van|der|den|dei|degli|delle?|des|du|the|of)"
_NAME = rf"(?:{_SMALL}[ ]?){{0,3}}{_CAP}"
_NAMES = rf"{_NAME}(?:[ ]{_NAME}){{0,4}}"
_TOWN = rf"{_CAP}(?:[ ](?:{_CAP}|am|an[ ]der|de|den|der|sur|la|le|les|upon|bij)){{0,4}}"
_THEN = r",?\s+"

_UNIT = r"(?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Fl|Room|\#)\.?[ ]?[\w-]{1,6}"
_ENGLISH_TOWN = rf"{_THEN}{_TOWN},?[ ](?:[A-Z]{{2}}[ ]\d{{5}}(?:-\d{{4}})?|[A-Z]{{1,2}}\d[A-Z\d]?[ ]\d[A-Z]{{2}})"
_STREETS = r"Street|Avenue|Ave\.?|Road|Rd\.?|Boulevard|Blvd\.?|Lane|Drive|Terrace|Crescent|Parkway"
_MORE_STREETS = (
    r"St\.?|Ln\.?|Dr\.?|Court|Ct\.?|Way|Place|Pl\.?|Square|Sq\.?|Close|Gardens|Grove|Mews|Pkwy\.?|Highway|Hwy\.?|Circle|Cir\.?"
    r"|Trail|Walk|Row|Hill"
)
# 88 W. Elm St., Apt 4B, Portland, OR 97209; 14 Rosebery Avenue, London EC1R 4TD
_ENGLISH = rf"""
    (?:{_UNIT},[ ]|The[ ]{_CAP}(?:[ ]{_CAP})?,[ ])?
    (?<![\w.,:/-])\d{{1,5}}[A-Za-z]?[ ](?:[NSEW]\.?[ ])?(?:(?:\d{{1,3}}(?:st|nd|rd|th)|{_CAP})[ ]){{1,4}}
    (?:{_STREETS}|{_MORE_STREETS})(?:,?[ ]{_UNIT})?{_ENGLISH_TOWN}
"""
# Without a town only where the sentence ends, or goes on behind a comma.
_ENGLISH_STREET = rf"""
    (?<![\w.,:/\#-])\d{{1,5}}[ ](?:[NSEW]\.?[ ])?(?:{_CAP}[ ]){{1,3}}(?:{_STREETS})(?:,?[ ]{_UNIT})?(?=[,.;)\n]|$)
"""
_BOX = (
    rf"\bP\.?[ ]?O\.?[ ]?Box[ ]\d{{1,6}}(?:{_ENGLISH_TOWN})?|\bPostfach[ ][\d ]{{3,10}}\d(?:{_THEN}\d{{5}}[ ]{_TOWN})?"
)
# Lindenstraße 17, 10969 Berlin; Am Alten Hafen 3a, 27568 Bremerhaven
_GERMAN = rf"""
    \b(?:
        {_CAP}(?:straße|strasse|str\.|weg|platz|allee|gasse|ring|ufer|damm|chaussee|stieg|graben|markt)
        |(?:{_CAP}[ ]){{0,2}}{_CAP}[ -](?:Straße|Str\.|Weg|Platz|Allee|Gasse|Ring|Ufer|Damm)
        |(?:Am|An[ ]der|An[ ]den|Auf[ ]der|Auf[ ]dem|Im|In[ ]der|Zum|Zur|Unter[ ]den|Hinter[ ]der)(?:[ ]{_CAP}){{1,2}}
    )[ ]\d{{1,4}}[ ]?[a-z]?\b(?:{_THEN}(?:D-|A-|CH-)?\d{{4,5}}[ ]{_TOWN})
    |\b{_CAP}(?:straße|strasse|str\.)[ ]\d{{1,4}}[ ]?[a-z]?\b
"""
# 12 bis rue des Tilleuls, 69003 Lyon
_FRENCH = rf"""
    (?<![\w.,:/-])\d{{1,4}}(?:[ ]?(?:bis|ter|[A-D]))?,?[ ]
    (?i:rue|avenue|av\.|boulevard|bd|place|impasse|allée|chemin|quai|cours|route|square|passage)[ ]{_NAMES}
    (?:{_THEN}\d{{5}}[ ]{_TOWN})?
"""
# Calle de Alcalá 45, 28014 Madrid; C/ Gran Vía, nº 12, 3º B, 48001 Bilbao
_SPANISH = rf"""
    \b(?:[Cc]alle|C/|[Aa]venida|Avda\.?|Av\.|[Pp]laza|Pza\.?|[Pp]aseo|Passeig|Carrer|[Cc]amino|[Rr]onda|Rua|Travessa|Praça)
    [ ]{_NAMES},?[ ](?:n[º°.][ ]?)?\d{{1,4}}(?:,[ ]\d{{1,2}}[º°ª](?:[ ]?\w{{1,4}})?)?
    (?:{_THEN}\d{{5}}(?:-\d{{3}})?[ ]{_TOWN})?
"""
# Via Garibaldi 23, 20121 Milano
_ITALIAN = rf"""
    \b(?:Via|Viale|Piazza|Corso|Vicolo|Largo|Piazzale|Strada|Lungarno)[ ]{_NAMES},?[ ]\d{{1,4}}(?:/?[A-Za-z])?
    (?:{_THEN}\d{{5}}[ ]{_TOWN}(?:[ ]\([A-Z]{{2}}\))?)?
"""
# Keizersgracht 241, 1016 EA Amsterdam
_DUTCH = rf"""
    \b(?:{_CAP}(?:straat|laan|weg|plein|gracht|kade|singel|dijk|hof|pad|markt)|Laan[ ]van[ ]{_NAMES})
    [ ]\d{{1,4}}[ ]?[a-z]?(?:[ -]\d{{1,3}})?{_THEN}\d{{4}}[ ]?[A-Z]{{2}}[ ]{_TOWN}
"""
# ul. Długa 12/3, 00-950 Warszawa
_POLISH = rf"\b(?:ul|al|pl|os)\.[ ]{_NAMES}[ ]\d{{1,4}}[a-z]?(?:/\d{{1,4}})?(?:{_THEN}\d{{2}}-\d{{3}}[ ]{_TOWN})?"
# г. Москва, ул. Ленина, д. 12, кв. 45
_RUSSIAN = r"""
    (?:\d{6},?[ ])?(?:(?:г\.|город)?[ ]?[А-ЯЁ][\w-]{1,60},[ ])?(?<!\w)
    (?:ул\.|улица|пр\.|пр-т|просп\.|проспект|пер\.|переулок|наб\.|набережная|ш\.|шоссе|б-р|бульвар|пл\.|площадь)
    [ ](?:[А-ЯЁ\d][\w-]*)(?:[ ][А-ЯЁ][\w-]*){0,3},?[ ](?:д\.|дом)?[ ]?\d{1,4}(?:/\d{1,3})?[а-я]?\b
    (?:,?[ ](?:к|корп|стр|кв|оф|корпус|квартира)\.?[ ]?\d{1,4})*
"""
_HAN = r"[\u4e00-\u9fff]"
# 北京市海淀区中关村大街27号
_CHINESE = rf"""
    (?:{_HAN}{{2,8}}?(?:省|市|自治区))?(?:{_HAN}{{2,7}}?(?:市|区|县|镇)){{1,3}}
    {_HAN}{{1,10}}?(?:路|街|大道|大街|巷|弄|胡同|道)\d{{1,5}}(?:弄|号)(?:院|楼)?(?:\d{{1,4}}(?:栋|幢|号楼|单元|楼|层|室|房))*
"""
# 〒530-0001 大阪府大阪市北区梅田3丁目1番3号
_JAPANESE = rf"""
    (?:〒\s?\d{{3}}-\d{{4}}\s*)?(?:東京都|北海道|(?:京都|大阪)府|{_HAN}{{2,3}}県){_HAN}{{1,6}}(?:市|区|郡|町|村)
    [\u4e00-\u9fff\u3041-\u30ff々ヶケ]{{1,16}}[0-9０-９]{{1,4}}(?:(?:丁目|番地?|号|[-−ー－の])[0-9０-９]{{0,4}}){{0,4}}
"""
# 서울특별시 강남구 테헤란로 152
_KOREAN = r"""
    [\uac00-\ud7a3]{2,6}(?:특별시|광역시|시|도)[ ](?:[\uac00-\ud7a3]{1,6}(?:시|구|군)[ ]){1,2}
    [\uac00-\ud7a3\d]{1,10}(?:로|길|동)[ ]\d{1,4}(?:-\d{1,4})?
"""
_WESTERN = tuple(
    re.compile(pattern, re.VERBOSE)
    for pattern in (_ENGLISH, _ENGLISH_STREET, _BOX, _GERMAN, _FRENCH, _SPANISH, _ITALIAN, _DUTCH, _POLISH)
)
_OTHERS = tuple(re.compile(pattern, re.VERBOSE) for pattern in (_RUSSIAN, _CHINESE, _JAPANESE, _KOREAN))


def find_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Where postal addresses stand, as (start, end): a street with a number, and the town where it follows."""
    if not any(character.isdigit() for character in text):
        return
    for pattern in _WESTERN if text.isascii() else (*_WESTERN, *_OTHERS):
        for match in pattern.finditer(text):
            yield match.start(), match.start() + len(match.group().rstrip(" ,"))
