// The control API. A refused call throws an Error whose message is the API's own sentence.

async function call(method, path, body, signal) {
  const options = { method, signal };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  const said = await response.json();
  if (!response.ok) throw new Refused(said.detail || response.statusText, response.status);
  return said;
}

export class Refused extends Error {
  constructor(detail, status) {
    super(detail);
    this.status = status;
  }
}

const phone = (number) => `/phones/${encodeURIComponent(number)}`;

export const api = {
  phones: () => call("GET", "/phones").then((said) => said.phones),
  addPhone: (number, name) => call("POST", "/phones", { number, name }),
  show: (number, signal) => call("GET", phone(number), undefined, signal),
  changes: (number, version, signal) => call("GET", `${phone(number)}/changes?version=${version}&wait=20`, undefined, signal),
  change: (number, what) => call("PATCH", phone(number), what),
  send: (number, to, text, replyTo) => call("POST", `${phone(number)}/messages`, { to, text, reply_to: replyTo }),
  read: (number, id) => call("POST", `${phone(number)}/read`, { id }),
  typing: (number, to, on) => call("POST", `${phone(number)}/typing`, { to, on }),
  scan: (number, qr) => call("POST", "/scan", { number, qr }),
  scanAt: (number, url) => call("POST", "/scan", { number, url }),
  pairCode: (number, code) => call("POST", "/pair-code", { number, code }),
  unlink: (number, device) => call("POST", `/accounts/${encodeURIComponent(number)}/unlink`, { device }),
};
