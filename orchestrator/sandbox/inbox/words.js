// What the page says, in both of its languages.
const WORDS = {
  en: {
    title: "Sandbox inbox", subtitle: "Stand-ins for push, SMS and mail providers. Nothing here leaves this machine.",
    search: "Find an address: token, phone or mailbox", all: "All", push: "Push", sms: "SMS", email: "Mail",
    live: "Live", paused: "Paused", faults: "Faults", other: "中文",
    webhook: "Webhook", provider: "Provider", everyProvider: "Every provider", more: "Show more",
    pushes: "pushes accepted", texts: "texts accepted", mails: "mails accepted", webhooks: "webhooks accepted", refused: "refused", suffered: "faults suffered",
    callbacks: "callbacks posted", rate: "accepted / s",
    app: "Your app", now: "now", minutes: "{n} min ago", hours: "{n} h ago", days: "{n} d ago",
    replaced: "shown once for {n} sends", textMessage: "Text message", reply: "Reply…", send: "Send reply",
    stopped: "Opted out", parts: "{n} parts · {e}", part: "1 part · {e}", messages: "{n} messages", message: "1 message",
    quick: "Reply with {w}", sendFailed: "The reply was not taken", autoStop: "You have been unsubscribed. Reply START to resubscribe.",
    autoStart: "You are subscribed again. Reply STOP to unsubscribe.",
    emptyTitle: "No messages yet", empty: "Point a channel's base_url at this address and send. Every accepted message appears here as its recipient sees it.",
    emptySearch: "No address contains that.", offline: "The sandbox does not answer. It is looked for again every second.",
    panelTitle: "Fault switches", panelHint: "What the providers are told to suffer, from the next request on.",
    share: "Requests affected", allOff: "All off", expired: "Expired",
    storm: "503 storm", busy: "451, greylisted", policy: "550, policy", tooMany: "429, wait 7 s", silence: "Silence, not accepted",
    silenceAccepted: "Silence, accepted", delay: "Wait 5 s, then accept", delayAccepted: "Accept, then wait 5 s", late: "Late, 30 s",
    k_reset_before: "Reset, not accepted", k_reset_after: "Accepted, then reset", k_html: "502 HTML page", k_dead_address: "Dead addresses",
    k_slow: "Slow answers, 5 s", k_drip: "One byte a second", k_truncated: "Cut-off answer", k_odd: "200 that says error", k_undelivered: "Undelivered",
    k_expire_tokens: "Expire all tokens", k_refuse: "Refuse connections, 5 s", k_wrong_name: "Certificate of another", k_refused_stream: "Stream refused",
    k_goaway_before: "GOAWAY, not accepted", k_goaway_after: "Accepted, then GOAWAY", k_empty: "503 without a body",
    k_duplicate: "Posted twice", k_reorder: "Last one first", k_forged: "Forged signature", k_lost: "Never posted",
    activeFaults: "On now", once: "Do it now", hits: "{n} hits",
    openIt: "Open in the app", opened: "Reported as opened: answered {s}", openedNowhere: "No deployment answers at {a}", noAck: "It carries no acknowledgement",
    refusalsTitle: "Refused lately", noRefusals: "Nothing was refused.", close: "Close", raw: "Request as accepted",
    detail: "Accepted message", f_seq: "Number", f_time: "Accepted", f_to: "Address", f_id: "Provider's id", f_message_id: "Message id",
    f_collapse_key: "Collapse key", f_expires_at: "Expires", f_link: "Link", f_parts: "Parts", f_encoding: "Encoding",
    f_fate: "Outcome", f_provider: "Provider", f_from: "From", noInbound: "Replies are kept, but posted nowhere: start with --app or --callback-inbound.",
    f_sender: "Envelope from", inboxTitle: "Inbox", mail: "Mail", mailText: "Text", mailHtml: "As HTML", mailHeaders: "Headers", links: "Links in this mail",
    noImages: "Scripts, images and the network are off in here.", leave: "Unsubscribe", left: "Asked: answered {s}", leaveFailed: "Not taken", noSubject: "(no subject)",
    s_queued: "Queued", s_sent: "Sent", s_delivered: "Delivered", s_undelivered: "Not delivered",
  },
  zh: {
    title: "沙盒收件箱", subtitle: "推送、短信与邮件服务商的本地替身，消息不会离开这台机器。",
    search: "按触达地址查找：令牌、手机号或邮箱", all: "全部", push: "推送", sms: "短信", email: "邮件",
    live: "实时", paused: "已暂停", faults: "故障", other: "English",
    webhook: "Webhook", provider: "服务商", everyProvider: "全部服务商", more: "显示更多",
    pushes: "已接受推送", texts: "已接受短信", mails: "已接受邮件", webhooks: "已接受 Webhook", refused: "已拒绝", suffered: "故障命中",
    callbacks: "已发回调", rate: "每秒接受",
    app: "你的应用", now: "刚刚", minutes: "{n} 分钟前", hours: "{n} 小时前", days: "{n} 天前",
    replaced: "发送 {n} 次，只显示一条", textMessage: "短信", reply: "回复…", send: "发送回复",
    stopped: "已退订", parts: "{n} 条 · {e}", part: "1 条 · {e}", messages: "{n} 条消息", message: "1 条消息",
    quick: "回复 {w}", sendFailed: "回复未被接受", autoStop: "您已退订。回复 START 可重新订阅。",
    autoStart: "您已重新订阅。回复 STOP 可退订。",
    emptyTitle: "还没有消息", empty: "把渠道的 base_url 指向本地址再发送，每条被接受的消息都会以收件人看到的样子出现在这里。",
    emptySearch: "没有地址包含这段文字。", offline: "沙盒没有应答，每秒重试一次。",
    panelTitle: "故障开关", panelHint: "从下一个请求开始，让服务商出这些状况。",
    share: "受影响的请求", allOff: "全部关闭", expired: "已过期",
    storm: "503 风暴", busy: "451 灰名单", policy: "550 策略拒绝", tooMany: "429，等 7 秒", silence: "不应答，未接受",
    silenceAccepted: "不应答，已接受", delay: "等 5 秒后接受", delayAccepted: "接受后等 5 秒", late: "延迟 30 秒",
    k_reset_before: "重置，未接受", k_reset_after: "接受后重置", k_html: "502 网页", k_dead_address: "失效地址",
    k_slow: "慢应答，5 秒", k_drip: "每秒一字节", k_truncated: "应答截断", k_odd: "200 却报错", k_undelivered: "未送达",
    k_expire_tokens: "使所有令牌过期", k_refuse: "拒绝连接，5 秒", k_wrong_name: "他人的证书", k_refused_stream: "拒绝流",
    k_goaway_before: "GOAWAY，未接受", k_goaway_after: "接受后 GOAWAY", k_empty: "503 无正文",
    k_duplicate: "重复投递", k_reorder: "颠倒次序", k_forged: "伪造签名", k_lost: "从不投递",
    activeFaults: "已开启", once: "立即执行", hits: "命中 {n} 次",
    openIt: "在应用中打开", opened: "已上报打开，回应 {s}", openedNowhere: "{a} 没有应答", noAck: "消息不带回执",
    refusalsTitle: "最近的拒绝", noRefusals: "没有被拒绝的请求。", close: "关闭", raw: "被接受的原始请求",
    detail: "已接受的消息", f_seq: "序号", f_time: "接受时间", f_to: "触达地址", f_id: "服务商编号", f_message_id: "消息编号",
    f_collapse_key: "折叠键", f_expires_at: "过期时间", f_link: "链接", f_parts: "计费条数", f_encoding: "编码",
    f_fate: "结果", f_provider: "服务商", f_from: "发件人", noInbound: "回复只会保存，不会发出：请用 --app 或 --callback-inbound 启动。",
    f_sender: "信封发件人", inboxTitle: "收件箱", mail: "邮件", mailText: "纯文本", mailHtml: "HTML", mailHeaders: "邮件头", links: "邮件中的链接",
    noImages: "这里已关闭脚本、图片与网络。", leave: "退订", left: "已请求，回应 {s}", leaveFailed: "未被接受", noSubject: "（无主题）",
    s_queued: "排队中", s_sent: "已发出", s_delivered: "已送达", s_undelivered: "未送达",
  },
};

function remembered() {
  try { return localStorage.getItem("sandbox-language"); } catch { return null; }
}

const asked = new URLSearchParams(location.search).get("lang") ?? remembered() ?? navigator.language;
export let language = asked.startsWith("zh") ? "zh" : "en";

export function say(word, values = {}) {
  return WORDS[language][word].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export function known(word) {
  return word in WORDS[language];
}

export function switchLanguage() {
  language = language === "zh" ? "en" : "zh";
  try { localStorage.setItem("sandbox-language", language); } catch { /* it is only a preference */ }
}

export function translatePage() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = say("title");
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = say(node.dataset.word);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", say(node.dataset.label));
  for (const node of document.querySelectorAll("[data-placeholder]")) {
    node.placeholder = say(node.dataset.placeholder);
    node.setAttribute("aria-label", say(node.dataset.placeholder));
  }
}

export function ago(seconds) {
  const past = Math.max(0, Date.now() / 1000 - seconds);
  if (past < 60) return say("now");
  if (past < 3600) return say("minutes", { n: Math.floor(past / 60) });
  if (past < 86400) return say("hours", { n: Math.floor(past / 3600) });
  return say("days", { n: Math.floor(past / 86400) });
}

export function clock(date = new Date()) {
  return date.toLocaleTimeString(language === "zh" ? "zh-CN" : "en-GB", { hour: "2-digit", minute: "2-digit" });
}

export function day(date = new Date()) {
  return date.toLocaleDateString(language === "zh" ? "zh-CN" : "en-GB", { weekday: "long", month: "long", day: "numeric" });
}

export function instant(seconds) {
  return new Date(seconds * 1000).toLocaleString(language === "zh" ? "zh-CN" : "en-GB");
}
