"""What a script that an event runs learns of it.

    rc, event = eem.event_reqinfo()

`rc` is 0 and `event` a dictionary: event_id, event_pub_sec, event_pub_msec, event_name, action_name, policy_map_name,
event_type, event_type_string, event_severity, and what belongs to the type: msg, msg_count and priority of a line of the
system log; timer_type, timer_time_sec, timer_time_msec, timer_remain_sec and timer_remain_msec; track_name and
track_state; app_name and app_status; alarm_type, alarm_resource, alarm_severity and alarm_text; notification_name and notification_xml; file_path.

Environment:
    PROCYON_EVENT     the dictionary as a JSON object; absent in a script that no event runs
"""

import json
import os

__all__ = ["event_reqinfo"]


def event_reqinfo():
    """`(0, facts)` of the event, or `(1, {})` in a script that no event runs."""
    try:
        event = json.loads(os.environ.get("PROCYON_EVENT", ""))
    except ValueError:
        return 1, {}
    return (0, event) if isinstance(event, dict) else (1, {})
