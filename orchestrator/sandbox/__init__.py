"""Local stand-ins for the providers' servers: FCM HTTP v1 (with Google's token endpoint), Twilio messaging, SMTP.

Somebody else's server, so it imports nothing of ours: it speaks the providers' protocols as strictly as they do, keeps
what it accepted in an fsynced log, can be told to fail, calls back like the real ones, and shows it all as phones in
the browser. ``python -m orchestrator.sandbox --port P --state DIR`` starts it.

The way through it is the way a request goes::

    server, wire      uvicorn, a connection that can really be reset
    app, api, inbox/  routes; what tests, simulated people and the inbox page ask for
    oauth             Google's token endpoint
    fcm               POST messages:send, judged by fcm_schema (JSON, names, types) and fcm_rules (meaning)
    twilio            POST and GET Messages, judged by twilio_rules; twilio_list pages through them
    jpush, getui      two push services of China; once: what they count once, by an id of its own
    aliyun, gateway   SMS with approved templates, and two gateways that exist nowhere
    smtp              a mail server, judging by mail_rules; mail_view shows what it took, and nothing it could do
    door, faults      every request passes here: what it is told to suffer before and after it is accepted
    accepted          accepted.jsonl: one fsync for all that wait, before any of them is answered
    webhooks          signed status callbacks and inbound messages, in order per message
    replies           what people wrote back, and who has said STOP
    world             all of these together
"""
