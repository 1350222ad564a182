"""Where the generated people live: the whole world, half-hour zones included; more of them where more people live."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """A zone with its country; ``chinese`` is the share of people there who use the app in Chinese."""

    zone: str
    country: str
    weight: int
    chinese: float = 0.0


PLACES = (
    Place("Pacific/Kiritimati", "KI", 8),
    Place("Pacific/Chatham", "NZ", 8),  # UTC+12:45, in summer +13:45
    Place("Pacific/Tongatapu", "TO", 8),
    Place("Pacific/Auckland", "NZ", 35, 0.1),
    Place("Pacific/Fiji", "FJ", 10),
    Place("Australia/Sydney", "AU", 50, 0.15),
    Place("Australia/Adelaide", "AU", 20),  # UTC+9:30, in summer +10:30
    Place("Australia/Darwin", "AU", 8),  # UTC+9:30
    Place("Asia/Tokyo", "JP", 60, 0.1),
    Place("Asia/Seoul", "KR", 50, 0.1),
    Place("Asia/Shanghai", "CN", 330, 0.97),
    Place("Asia/Taipei", "TW", 70, 0.95),
    Place("Asia/Hong_Kong", "HK", 70, 0.8),
    Place("Asia/Singapore", "SG", 60, 0.5),
    Place("Asia/Kuala_Lumpur", "MY", 40, 0.4),
    Place("Asia/Manila", "PH", 40),
    Place("Australia/Perth", "AU", 20),
    Place("Asia/Bangkok", "TH", 35, 0.1),
    Place("Asia/Jakarta", "ID", 50),
    Place("Asia/Ho_Chi_Minh", "VN", 35),
    Place("Asia/Yangon", "MM", 10),  # UTC+6:30
    Place("Asia/Dhaka", "BD", 25),
    Place("Asia/Kathmandu", "NP", 15),  # UTC+5:45
    Place("Asia/Kolkata", "IN", 140),  # UTC+5:30
    Place("Asia/Colombo", "LK", 12),  # UTC+5:30
    Place("Asia/Karachi", "PK", 25),
    Place("Asia/Kabul", "AF", 8),  # UTC+4:30
    Place("Asia/Dubai", "AE", 40, 0.05),
    Place("Asia/Tehran", "IR", 15),  # UTC+3:30
    Place("Europe/Istanbul", "TR", 30),
    Place("Africa/Nairobi", "KE", 20),
    Place("Africa/Cairo", "EG", 25),
    Place("Africa/Johannesburg", "ZA", 25),
    Place("Europe/Athens", "GR", 15),
    Place("Europe/Berlin", "DE", 70),
    Place("Europe/Paris", "FR", 60, 0.03),
    Place("Europe/Rome", "IT", 40),
    Place("Europe/Madrid", "ES", 40),
    Place("Europe/Stockholm", "SE", 20),
    Place("Africa/Lagos", "NG", 30),
    Place("Europe/London", "GB", 90, 0.05),
    Place("Europe/Lisbon", "PT", 15),
    Place("Africa/Accra", "GH", 10),
    Place("Atlantic/Azores", "PT", 8),
    Place("America/Noronha", "BR", 6),
    Place("America/Sao_Paulo", "BR", 60),
    Place("America/Argentina/Buenos_Aires", "AR", 30),
    Place("America/St_Johns", "CA", 12),  # UTC-3:30
    Place("America/Halifax", "CA", 12),
    Place("America/Caracas", "VE", 10),
    Place("America/New_York", "US", 150, 0.05),
    Place("America/Toronto", "CA", 40, 0.1),
    Place("America/Bogota", "CO", 20),
    Place("America/Lima", "PE", 15),
    Place("America/Mexico_City", "MX", 40),
    Place("America/Chicago", "US", 80),
    Place("America/Denver", "US", 30),
    Place("America/Phoenix", "US", 15),
    Place("America/Los_Angeles", "US", 90, 0.1),
    Place("America/Vancouver", "CA", 40, 0.3),
    Place("America/Anchorage", "US", 10),
    Place("Pacific/Marquesas", "PF", 6),  # UTC-9:30
    Place("Pacific/Honolulu", "US", 15),
    Place("Pacific/Pago_Pago", "AS", 8),
)

ENGLISH_NAMES = (
    "Alex", "Amara", "Ana", "Arjun", "Ben", "Bianca", "Carlos", "Chloe", "Daniel", "Divya", "Elena", "Emeka", "Emma",
    "Farid", "Fatima", "Grace", "Hana", "Hugo", "Ines", "Ivan", "Jack", "Jamila", "Jonas", "Kavya", "Kenji", "Lara",
    "Leo", "Lucia", "Malia", "Marco", "Maya", "Mehmet", "Mia", "Nadia", "Noah", "Nora", "Olivia", "Omar", "Paulo",
    "Priya", "Ravi", "Rosa", "Sam", "Sara", "Sione", "Sofia", "Tala", "Tom", "Yara", "Zoe",
)  # fmt: skip
CHINESE_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗"
CHINESE_GIVEN = (
    "子涵", "雨桐", "浩然", "欣怡", "宇轩", "诗涵", "梓豪", "思远", "佳怡", "明轩", "静雯", "志强", "晓燕", "文博",
    "雅婷", "俊杰", "美琳", "嘉豪", "婉清", "一鸣", "安", "宁", "睿", "萱", "磊",
)  # fmt: skip
ENGLISH_DISHES = (
    "pad thai", "the margherita pizza", "ramen", "a poke bowl", "chicken biryani", "falafel wrap", "fish tacos",
    "the cheeseburger", "bibimbap", "pho", "jollof rice", "paneer tikka", "caesar salad", "gnocchi al pesto",
)  # fmt: skip
CHINESE_DISHES = (
    "宫保鸡丁饭", "兰州牛肉面", "麻辣香锅", "黄焖鸡米饭", "番茄牛腩饭", "小笼包", "酸菜鱼", "鱼香肉丝饭", "云吞面",
    "煲仔饭", "凉皮", "卤肉饭", "重庆小面", "扬州炒饭",
)  # fmt: skip
