"""What Aliyun posts: receipts and replies, as JSON arrays that nobody signs, in Beijing time without a zone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.json_post import JsonPost

BEIJING = timezone(timedelta(hours=8))


def beijing(instant: float) -> str:
    """The wall clock in Beijing."""
    return datetime.fromtimestamp(instant, BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def receipt(record: Record) -> JsonPost:
    """SmsReport; its forgery says that the number is dead."""
    delivered = record["fate"] == "DELIVERED"
    item = {
        "phone_number": record["request"]["PhoneNumbers"],
        "send_time": beijing(record["time"]),
        "report_time": beijing(time.time()),
        "success": delivered,
        "err_code": record["fate"],
        "err_msg": "用户接收成功" if delivered else "发送失败",
        "sms_size": "1",
        "biz_id": record["id"],
        "out_id": record["message_id"] or "",
    }
    lie = {**item, "success": False, "err_code": "INVALID_NUMBER", "err_msg": "空号"}
    return JsonPost([item], lie=lambda: ({}, [lie]))


def upstream(reply: Mapping[str, Any]) -> JsonPost:
    """SmsUp."""
    item = {
        "phone_number": str(reply["from"]).removeprefix("+86").removeprefix("+"),
        "send_time": beijing(reply["time"]),
        "content": reply["text"],
        "dest_code": "1234",
        "sequence_id": str(int(str(reply["sid"])[2:14], 16)),
    }
    return JsonPost([item])
