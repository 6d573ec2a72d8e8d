"""Calendars in words, in English and Chinese: what a rule waits for, and why it is due."""

from models.calendar import (
    Anniversary,
    Before,
    Birthday,
    Calendar,
    FestivalDay,
    Weekly,
)

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WEEKDAYS_CHINESE = ("星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期日")
_ENDS = {
    "points_expire": ("points expire", "积分到期"),
    "offer_expires": ("an offer expires", "优惠到期"),
    "tier_review": ("the tier is reviewed", "等级复核"),
}


def reason(calendar: Calendar, day: str, offer: str, chinese: bool) -> str:
    """Return why a rule is due, in one sentence; ``day`` is the date that it is about."""
    ahead = _ahead(calendar.days_before, chinese)
    match calendar.day:
        case Birthday():
            return f"会员生日是 {day}{ahead}。" if chinese else f"The birthday is {day}{ahead}."
        case Anniversary():
            if chinese:
                return f"会员入会周年是 {day}{ahead}。"
            return f"The anniversary of joining is {day}{ahead}."
        case FestivalDay(festival=festival):
            name = festival.chinese if chinese else festival.english
            return f"{name}是 {day}{ahead}。" if chinese else f"{name} is {day}{ahead}."
        case Weekly(weekday=weekday):
            if chinese:
                return f"{day} 是{_WEEKDAYS_CHINESE[weekday]}。"
            return f"{day} is a {_WEEKDAYS[weekday]}."
        case Before(end="points_expire"):
            if chinese:
                return f"部分积分的最后有效日是 {day}{ahead}。"
            return f"The last day of some points is {day}{ahead}."
        case Before(end="offer_expires"):
            if chinese:
                return f"优惠 {offer} 的最后有效日是 {day}{ahead}。"
            return f"The last day of the offer {offer} is {day}{ahead}."
        case Before():
            if chinese:
                return f"等级复核前的最后一天是 {day}{ahead}。"
            return f"The last day before the tier is reviewed is {day}{ahead}."


def _ahead(days: int, chinese: bool) -> str:
    if not days:
        return ""
    return f",还有 {days} 天" if chinese else f", {_days(days)} ahead"


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def planned(calendar: Calendar, chinese: bool) -> str:
    """Return what a calendar waits for, in words."""
    clock = f"{calendar.minute // 60:02d}:{calendar.minute % 60:02d}"
    days = calendar.days_before
    match calendar.day:
        case Birthday():
            name = "生日" if chinese else "birthday"
        case Anniversary():
            name = "入会周年" if chinese else "anniversary of joining"
        case FestivalDay(festival=festival):
            name = festival.chinese if chinese else festival.english
        case Weekly(weekday=weekday):
            name = f"每{_WEEKDAYS_CHINESE[weekday]}" if chinese else f"every {_WEEKDAYS[weekday]}"
        case Before(end=end):
            name = _ENDS[end][chinese]
    if chinese:
        return f"{name}前 {days} 天 {clock}" if days else f"{name} {clock}"
    return f"{name}, {_days(days)} before, at {clock}" if days else f"{name}, at {clock}"
