// What the providers are called, and what each of their messages is shown on.
import { language } from "./words.js";

const NAMES = {
  fcm: ["FCM"], apns: ["APNs"], webpush: ["Web Push"], huawei: ["Huawei", "华为"], xiaomi: ["Xiaomi", "小米"], oppo: ["OPPO"], vivo: ["vivo"],
  jpush: ["JPush", "极光"], getui: ["Getui", "个推"], twilio: ["Twilio"], aliyun: ["Aliyun", "阿里云"], gateway: ["Gateway", "HTTP 网关"],
  smtp: ["SMTP"], ses: ["SES"], sendgrid: ["SendGrid"], webhook: ["Webhook"],
  token: ["Token endpoints", "令牌接口"], lookup: ["Look-ups", "查询接口"], callback: ["Callbacks", "回调"], http: ["HTTP port", "HTTP 端口"],
};
export const PROVIDERS = Object.keys(NAMES).slice(0, 16);

export function nameOf(provider) {
  const [english, chinese = english] = NAMES[provider] ?? [provider];
  return language === "zh" ? chinese : english;
}

// A notification looks as its device draws it: FCM and the phone makers are Android's.
export function deviceOf(provider) {
  return { apns: "iphone", webpush: "browser" }[provider] ?? "android";
}
