"""Local stand-ins for the servers of every provider that the channels speak to.

Somebody else's server, so it imports nothing of ours: it speaks the providers' protocols as strictly as they do, keeps
what it accepted in an fsynced log, can be told to fail, calls back like the real ones, and shows it all as phones in
the browser. ``python -m orchestrator.sandbox --port P --state DIR`` starts it.

The way through it is the way a request goes::

    server, wire      uvicorn, a connection that can really be reset
    app, api, inbox/  routes; what tests, simulated people and the inbox page ask for
    accounts          what a customer writes into channels.yaml, and where each provider calls back
    push/             oauth: Google's token endpoint; fcm: judged by fcm_schema (names, types) and fcm_rules (meaning);
                      apns over HTTP/2; webpush with its browsers; the phone makers, JPush and Getui
    sms/, email/      twilio, aliyun, gateway; smtp, ses with sns, sendgrid; each judged by its *_rules
    webhook           a server of the app's own
    handset           the app on the phones: it reports what arrives and what is opened
    once              which ids a provider has counted, where it counts a message once
    door, faults      every request passes here: what it is told to suffer before and after it is accepted
    accepted          accepted.jsonl: one fsync for all that wait, before any of them is answered
    webhooks          signed status callbacks and inbound messages, in order per message
    replies           what people wrote back, and who has said STOP
    world             all of these together
"""
