"""Forms of secrets: tokens of providers, keys and hashes, credentials in headers, addresses and commands, codes, phrases."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple


class Form(NamedTuple):
    """A pattern, and texts of which one is in whatever matches it: to look for those first is many times as fast."""

    needles: tuple[str, ...]  # in small letters; none where there is no such text
    pattern: re.Pattern[str]

    def may_be_in(self, lowered: str) -> bool:
        """Whether a text, in small letters, may hold what matches."""
        return not self.needles or any(needle in lowered for needle in self.needles)

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """Where it matches."""
        return self.pattern.finditer(text)


class Behind(NamedTuple):
    """A pattern that counts behind a beginning, with at most so much of some kind between them: a command, and its option.

    As one expression it would look through all that stands between from each beginning. Here the values are found, and
    each is asked for the nearest beginning before it, of which it is the first.
    """

    needles: tuple[str, ...]
    begin: re.Pattern[str] | Behind
    between: re.Pattern[str]
    most: int
    pattern: re.Pattern[str]

    def may_be_in(self, lowered: str) -> bool:
        """Whether a text, in small letters, may hold what matches."""
        return any(needle in lowered for needle in self.needles)

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """Where the pattern matches behind a beginning."""
        found = self.begin.matches(text) if isinstance(self.begin, Behind) else self.begin.finditer(text)
        begins = [begin.end() for begin in found]
        nearest = used = 0
        for match in self.pattern.finditer(text) if begins else ():
            nearest = bisect_right(begins, match.start(), nearest)
            end = begins[nearest - 1]
            near = nearest > used and match.start() - end <= self.most
            if near and self.between.fullmatch(text, end, match.start()):
                used = nearest
                yield match


def _form(needles: str, pattern: str) -> Form:
    return Form(tuple(needles.split()), re.compile(pattern))


def _option(needles: str, begin: str | Behind, pattern: str, most: int = 200) -> Behind:
    """An option of a command, which begins with a word and ends with its line, a pipe or a semicolon."""
    word = re.compile(rf"\b{begin}\s") if isinstance(begin, str) else begin
    between = re.compile(rf"(?:[^\n|;]{{0,{most}}}\s)?")
    return Behind(tuple(needles.split()), word, between, most + 1, re.compile(rf"(?<=\s){pattern}"))


# Prefixes and lengths as the providers publish them for scanners.
SELF_EVIDENT = (
    _form("akia asia abia acca", r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b"),
    _form("ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", r"\bgh[pousr]_[0-9A-Za-z]{36,255}\b|\bgithub_pat_[0-9A-Za-z_]{22,255}\b"),
    _form("gl", r"\bgl(?:pat|rt|dt|ptt|ft|cbt|soat|imt|agent|oas)-[0-9A-Za-z_.-]{20,}"),
    _form("sk-", r"\bsk-(?:ant-|proj-|or-|svcacct-|admin-|lf-)?[0-9A-Za-z_-]{20,}"),
    _form("xox xapp-", r"\bxox[abceoprs]-[0-9A-Za-z-]{10,}|\bxapp-\d-[0-9A-Za-z-]{20,}"),
    _form("hooks.slack.com", r"https://hooks\.slack\.com/(?:services|workflows)/[\w/]{20,}"),
    _form("webhook.office.com", r"https://[\w.-]{1,60}\.webhook\.office\.com/webhookb2/[\w@/-]{30,}"),
    _form("/api/webhooks/", r"https://(?:\w{1,20}\.)?discord(?:app)?\.com/api/webhooks/\d{15,20}/[\w-]{50,}"),
    _form("aiza ya29. gocspx- 1//0", r"\bAIza[0-9A-Za-z_-]{35}|\bya29\.[0-9A-Za-z_-]{20,}|\bGOCSPX-[0-9A-Za-z_-]{28}|\b1//0[0-9A-Za-z_-]{40,}"),
    _form("_live_ _test_ _prod_ whsec_", r"\b(?:sk|rk|pk)_(?:live|test|prod)_[0-9A-Za-z]{16,}|\bwhsec_[0-9A-Za-z+/=]{24,}"),
    _form("npm_ pypi- rubygems_ dckr_", r"\bnpm_[0-9A-Za-z]{36}\b|\bpypi-[\w-]{50,}|\brubygems_[0-9a-f]{48}\b|\bdckr_(?:pat|oat)_[\w-]{20,}"),
    _form("hf_ gsk_ r8_ pplx- xai-", r"\b(?:hf_[0-9A-Za-z]{30,}|gsk_[0-9A-Za-z]{40,}|r8_[0-9A-Za-z]{37}|pplx-[0-9A-Za-z]{40,}|xai-[0-9A-Za-z]{60,})\b"),
    _form("lsv2_ nvapi- tgp_v1_ wandb_v1_", r"\blsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}\b|\bnvapi-[\w-]{50,}|\btgp_v1_[\w-]{40,}|\bwandb_v1_[\w-]{40,}"),
    _form("sg. key- -us xkeysib-", r"\bSG\.[\w-]{16,}\.[\w-]{16,}|\bkey-[0-9a-f]{32}\b|\b[0-9a-f]{32}-us\d{1,2}\b|\bxkeysib-[0-9a-f]{64}-\w{16}\b"),
    _form("sk", r"\bSK[0-9a-f]{32}\b"),
    _form("_v1_ hvs. hvb. hvr. .atlasv1.", r"\bdo[opr]_v1_[0-9a-f]{64}\b|\bhv[sbr]\.[\w-]{24,}|\b\w{14}\.atlasv1\.[\w-]{60,}"),
    _form("dp.", r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.(?:[\w-]{1,40}\.)?[0-9A-Za-z]{40,}"),
    _form("pul- sbp_ sb_secret_ nfp_", r"\bpul-[0-9a-f]{40}\b|\bsbp_[0-9a-f]{40}\b|\bsb_secret_[\w-]{20,}|\bnfp_[0-9A-Za-z]{36,}"),
    _form("pat flyv1", r"\bpat[0-9A-Za-z]{14}\.[0-9a-f]{64}\b|\bFlyV1 fm\d_[\w+/=,-]{40,}"),
    _form("dapi glsa_ glc_", r"\bdapi[0-9a-f]{32}(?:-\d)?\b|\bglsa_[0-9A-Za-z]{32}_[0-9a-f]{8}\b|\bglc_[0-9A-Za-z+/]{32,}={0,2}"),
    _form("nrak- nrii- pscale_", r"\bNRAK-[0-9A-Z]{27}\b|\bNRII-[\w-]{32}|\bpscale_(?:tkn|pw|oauth)_[\w=.-]{30,}"),
    _form("ntn_ secret_ figd_ pmak-", r"\bntn_[0-9A-Za-z]{40,}|\bsecret_[0-9A-Za-z]{43}\b|\bfigd_[\w-]{38,}|\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}\b"),
    _form("lin_ atatt3 atctt3", r"\blin_(?:api|oauth)_[0-9A-Za-z]{32,}|\bAT[AC]TT3[\w=-]{100,}"),
    _form("sntry shp sq0 eaaa", r"\bsntry[su]_[0-9A-Za-z+/=_-]{60,}|\bshp(?:at|ca|pa|ss)_[0-9a-f]{32}\b|\bsq0(?:csp|atp|idp)-[\w-]{22,}|\bEAAA[\w-]{60}\b"),
    _form("ezak ezt mdb_sa_sk_", r"\bEZ[AT]K[0-9A-Za-z]{54}\b|\bmdb_sa_sk_[\w-]{30,}"),
    _form(":aa q~ .eyj", r"\b\d{8,10}:AA[\w-]{32,33}(?![\w-])|\b[\w~.]{3}\dQ~[\w~.-]{31,34}|\b[ps]k\.eyJ[\w-]{20,}\.[\w-]{20,}|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
    _form("", r"\b[MNO][0-9A-Za-z_-]{23,27}\.[\w-]{5,7}\.[\w-]{27,40}(?![\w-])"),
    _form("hrku- clojars_ sgp_ duffel_ dt0c01. tskey-", r"\bHRKU-[\w-]{36,}|\bCLOJARS_[0-9a-z]{60}\b|\bsgp_[0-9a-f_]{40,}|\bduffel_(?:test|live)_[\w-]{43}|\bdt0c01\.[0-9A-Z]{24}\.[0-9A-Z]{64}\b|\btskey-[\w-]{20,}"),
    _form("age-secret-key-", r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}"),
    # Whoever else names keys as these do: a word, the stage, and a long drawn end.
    _form("_live_ _test_ _prod_ _dev_ _api_ _secret_ _token_ _pat_",
        r"\b[a-z]{2,12}_(?:live|test|prod|dev|api|secret|token|pat)_(?=[0-9A-Za-z]{0,60}\d)(?=[0-9A-Za-z]{0,60}[A-Z])[0-9A-Za-z]{24,120}\b"),
    # Hashes of passwords, as crypt(3), Django and LDAP write them.
    _form("$ {", r"(?<![\w$])\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|sha1|argon2(?:id|i|d)|scrypt|pbkdf2(?:-sha\d{1,3})?)\$[\w./+=,$-]{22,400}[\w./+=]"
        r"|\b(?:pbkdf2_sha\d{1,3}|scrypt|bcrypt_sha256|argon2)\$[\w.$/+=-]{30,400}|\{(?:S?SHA\d{0,3}|SMD5|CRYPT)\}[\w+/$.=]{16,200}"),
)  # fmt: skip

# A private key, which ends with its end, or with a text that was cut. By an expression for both the way from each beginning
# would be looked through again.
PRIVATE_KEY = _form("-----begin", r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
PRIVATE_KEY_END = re.compile(r"-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?:\\n)?")
PRIVATE_KEY_MOST = 8000

_QUOTES = "\"'`"
BEARER = _form("bearer basic", r"(?i)\b(?:bearer|basic)\s+([a-z0-9._~+/-]{16,2000}=*)")
HEADERS = (
    _form(
        "authorization",
        rf"(?i)\bauthorization\\?[{_QUOTES}]?\s{{0,3}}[:=,]\s{{0,3}}f?\\?[{_QUOTES}]?(?:[a-z-]{{2,24}}\s)?([^\s{_QUOTES},;<>\[\]{{}}]{{12,2000}})",
    ),
    Behind(
        ("cookie",),
        re.compile(r"(?i)\bcookie\\?[\"']?:"),
        re.compile(r"\s?(?:[^\n;]{1,200};){0,10}\s?"),
        2012,
        re.compile(
            r"(?i)(?<=[\s;:])[\w.-]{0,30}(?:sess|sid|auth|token|jwt|login)[\w.-]{0,30}=([^\s;,\"'<>\[\]]{16,2000})"
        ),
    ),
)
URLS = (
    _form("://", r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'<>]{0,100}:([^\s/@\"'<>\[\]]{3,100})@"),
    _form("://", r"\bhttps?://([A-Za-z0-9_-]{16,100})@"),
    _form(
        "?key &key token secret signature password passwd pwd api appid app_id sig= auth= sid= code_verifier",
        r"(?i)[?&;](?:[\w.-]{0,30}(?:api[_-]?key|token|secret|signature|password|passwd|pwd)|key|apikey|appid|app_id|sig|auth|sid|code_verifier)="
        r"([\w.~%+/-]{16,500}=*)",
    ),
    _form("secret=", r"(?i)[?&]secret=([A-Z2-7]{16,64})\b"),
)
_VALUE = r"[\"']?([^\s\"'`\[\]<>]{5,200})"
_LOGINS = "docker podman helm oras skopeo az oc cf buildah nerdctl"
COMMANDS = (
    _option("mysql mariadb", r"(?:mysql|mariadb)[\w-]{0,10}", rf"-p(?!\s){_VALUE}"),
    _option(
        "curl wget http xh",
        "(?:curl|wget|http|https|xh)",
        rf"(?:-u\s?|--user[= ]|-a\s)[\"']?[^\s:\"'/]{{1,100}}:{_VALUE}",
        300,
    ),
    _form("sshpass", rf"\bsshpass\s+-p\s?{_VALUE}"),
    _option(
        _LOGINS,
        _option(_LOGINS, "(?:docker|podman|helm|oras|skopeo|az|oc|cf|buildah|nerdctl)", r"login\s", 100),
        rf"-p\s{_VALUE}",
    ),
    _option("twine mongo", r"(?:twine|mongo\w{0,8})", rf"-p\s{_VALUE}"),
    _option("redis-cli", "redis-cli", rf"-a\s{_VALUE}"),
    _option("ldap", r"ldap\w{2,10}", rf"-w\s{_VALUE}"),
    _option("openssl", "openssl", rf"(?:-k\s|-pass(?:in|out)?\s(?:pass:)?){_VALUE}"),
    _form("/user:", rf"(?i)\bnet\s+use\s[^\n]{{0,200}}?/user:\S{{1,60}}\s{_VALUE}"),
    _form(
        "auth",
        r"(?i)\bauth\s{0,2}=\s{0,2}\(\s{0,2}[\"'][^\"'\n]{1,60}[\"'],\s{0,2}[\"']([^\"'\n\[\]]{4,100})[\"']",
    ),
    _form(
        "_auth= password=",
        r"\b[A-Z_]{0,20}(?:_AUTH|PASSWORD)=[\"']?(?!\$)([^\s\"'`\[\]<>;&]{6,200})\s+[a-z][\w-]*",
    ),
)

_IS = r"(?:\s(?:code|number|nummer|numéro))?(?:\s(?:for|für|pour|of|to)\s[^\W\d_]{1,36}(?:\s[^\W\d_]{1,12}){0,2}\s?)?\s{0,2}(?:(?:is|was|lautet|ist|est|es|è|:|：|=|#|は|是|为)\s{0,2}){1,2}"
_DIGITS = r"(\d{4,8})(?![\w.,]*\d)"
PINS = (
    _form("key serial", r"(?i)\b(?:licen[cs]e|product|activation|serial|registration)[ -](?:key|code|number|no)\W{1,4}(?-i:([A-Z0-9]{4,6}(?:-[A-Z0-9]{4,6}){3,7}))\b"),
    _form("pin puk tan otp geheimzahl пин", rf"(?i)\b(?:pin|puk|m?tan|otp|geheimzahl|código pin|code pin|пин-?код|pincode)(?![\w]){_IS}{_DIGITS}"),
    _form("puk otp tan geheimzahl pin", rf"\b(?:PUK|OTP|m?TAN|Geheimzahl|PIN[- ]?[Cc]ode)\s{_DIGITS}"),
    _form("code pass pin", r"(?i)\b(?:security|verification|confirmation|one[- ]time|login|sign-?in|2fa|two-factor|sms|auth(?:entication)?)[- ](?:code|password|passcode|pin)(?:\s(?:is|was)|:|\s=)?\s{1,2}(\d{3,8})(?![\w.,]*\d)"),
    _form("use", r"(?i)\buse\s(\d{4,8})\s(?:as|for)\s(?:your|the|a)\s(?:[\w-]{1,14}\s){0,2}(?:code|pin|password|otp)\b"),
    _form("cvv cvc csc cid", r"\b(?:CVV2?|CVC2?|CSC|CID|cvv|cvc)(?:\s(?:is|code|was)|:|\s=|=){0,2}\s{0,2}(\d{3,4})(?!\w|\.\d|\sdigits)"),
    _form("验证码 驗證碼 認証コード 暗証番号 인증번호 код", r"(?:验证码|驗證碼|認証コード|暗証番号|인증번호|код подтверждения)\s?(?:是|为|は|:|：)?\s?(\d{4,8})(?!\d)"),
)  # fmt: skip

_LITTLE = r"(?!(?:the|a|an|is|are|and|or|not|to|of|in|on|that|it|for|with|very|too|long|must|should|has|was|be|by|as|at|your|my|used|only|no)\b)"
_LINK = r"[\"']?\s{0,3}(?:is|was|are|[:=]|ist|lautet)?\s{0,3}[\"'“`]?"
PHRASES = (
    _form("seed recovery mnemonic backup secret wallet", rf"(?i)\b(?:(?:seed|recovery|mnemonic|backup|secret)(?:\s(?:phrase|words?|seed))?|wallet words|mnemonic){_LINK}((?-i:[a-z]{{3,8}}(?:[ ,]{{1,2}}[a-z]{{3,8}}){{11,23}}))\b"),
    _form("pass", r"(?i)\bpass ?phrase\s{0,3}(?:is|was|:|=)?\s{0,3}[\"'“`]([^\s\"'”`\n\[\]][^\"'”`\n\[\]]{5,100})[\"'”`]"),
    _form("pass", rf"(?i)\bpass ?phrase\s{{0,3}}(?:is|was|:|=)\s{{0,3}}((?-i:{_LITTLE}[a-z]{{2,12}}(?:[ -]{_LITTLE}[a-z]{{2,12}}){{2,9}}))(?=[\s.,;]*$|[.,;\n])"),
)  # fmt: skip
