// From what the API tells to elements. Text only ever becomes text: nothing a phone sends is read as HTML.

export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// What is there already is left alone: a press of the mouse that began on it must end on it, or it would be no click.
export function fill(list, rows) {
  const anew = list.cloneNode(false);
  anew.append(...rows);
  if (!anew.isEqualNode(list)) list.replaceChildren(...anew.childNodes);
}

const PATHS = {
  pending: "M9 3a6 6 0 1 0 .01 0M9 6v3.4l2.2 1.4",
  sent: "M3 8l4 4 8-9",
  delivered: "M1 8l4 4 7-9M8 11l1.5 1L17 3",
  failed: "M9 3v6M9 12.4v.1",
  reply: "M9 7L4 12l5 5M4 12h9a7 7 0 0 1 7 6",
};

function icon(name, box, className) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("viewBox", box);
  made.setAttribute("class", className);
  const path = made.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  path.setAttribute("d", PATHS[name]);
  return made;
}

export function ticks(status) {
  const shape = { sent: "sent", delivered: "delivered", read: "delivered", failed: "failed" }[status] || "pending";
  const made = icon(shape, "0 0 18 15", `ticks ${status}`);
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", status);
  return made;
}

export const shownNumber = (number) => (/^\d+$/.test(number) ? `+${number}` : number);
export const called = (number, name) => name || shownNumber(number);

export function face(number, name) {
  const letters = name ? name.split(/\s+/).map((word) => [...word][0]).slice(0, 2).join("").toUpperCase() : number.slice(-2);
  return paintFace(el("span", { className: "face" }), number, letters);
}

export function paintFace(made, number, letters) {
  const hue = [...number].reduce((sum, digit) => (sum * 31 + digit.charCodeAt(0)) % 360, 7);
  made.style.setProperty("--hue", hue);
  made.textContent = letters;
  return made;
}

export const inShort = (line) => line.text || line.kind;

export const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });

function day(at) {
  const then = new Date(at).toDateString();
  return then === new Date().toDateString() ? "Today" : then;
}

export function phoneRow(phone, current) {
  const linked = phone.devices.length;
  const row = el("button", { className: "row phone", "data-number": phone.number },
    face(phone.number, phone.name),
    el("span", { className: "lines" },
      el("strong", { textContent: called(phone.number, phone.name) }),
      el("span", { className: "last", textContent: phone.last ? inShort(phone.last) : shownNumber(phone.number) })),
    el("span", { className: "side" },
      el("span", { textContent: phone.last ? clock(phone.last.at) : "" }),
      linked ? el("span", { className: phone.devices.some((device) => device.online) ? "badge" : "badge off",
        title: "Linked devices", textContent: `${linked} linked` }) : null));
  row.setAttribute("aria-current", String(current));
  return el("li", {}, row);
}

export function chatRow(chat, unread) {
  const last = chat.lines.at(-1);
  const preview = el("span", { className: "last" });
  if (chat.typing) preview.append(el("span", { className: "typing", textContent: "typing…" }));
  else if (last) preview.append(...(last.from_me ? [ticks(last.status)] : []), inShort(last));
  return el("li", {}, el("button", { className: "row chat", "data-number": chat.number },
    face(chat.number, chat.name),
    el("span", { className: "lines" }, el("strong", { textContent: called(chat.number, chat.name) }), preview),
    el("span", { className: "side" },
      el("span", { textContent: last ? clock(last.at) : "" }),
      unread ? el("span", { className: "badge unread", textContent: unread }) : null)));
}

export function deviceRow(device) {
  const waiting = device.waiting ? `, ${device.waiting} waiting` : "";
  return el("li", {},
    el("span", { className: device.online ? "dot on" : "dot" }),
    el("span", { className: "lines" }, `Device ${device.device}`,
      el("small", { textContent: (device.online ? "connected" : "not connected") + waiting })),
    el("button", { className: "unlink", "data-device": device.device, textContent: "Unlink" }));
}

// The lines of a chat, a day's name before each new day; `typing` adds the three dots.
export function conversation(lines, typing, names) {
  const made = [];
  let before = null;
  for (const line of lines) {
    if (!before || day(before.at) !== day(line.at)) made.push(el("li", { className: "day", textContent: day(line.at) }));
    made.push(bubble(line, before, lines, names));
    before = line;
  }
  if (typing) {
    const dots = el("span", { className: "dots", title: "typing" }, el("i"), el("i"), el("i"));
    made.push(el("li", { className: "bubble turn" }, dots));
  }
  return made;
}

function bubble(line, before, lines, names) {
  const turn = !before || before.from_me !== line.from_me;
  const quoted = line.reply_to && lines.find((other) => other.id === line.reply_to);
  return el("li", { className: `bubble${line.from_me ? " mine" : ""}${turn ? " turn" : ""}`, "data-id": line.id },
    line.reply_to ? el("span", { className: "quote", textContent: quoted ? inShort(quoted) : "a message that is not here" }) : null,
    written(line, names),
    el("footer", {}, el("time", { textContent: clock(line.at) }), line.from_me ? ticks(line.status) : null),
    el("button", { className: "reply icon", title: "Reply", "aria-label": "Reply", "data-id": line.id },
      icon("reply", "0 0 24 24", "")));
}

function written(line, names) {
  const made = el("p");
  if (line.kind !== "text") made.append(el("span", { className: "kind", textContent: `${line.kind} ` }));
  const mentioned = new Set(line.mentions.map((mention) => mention.split("@")[0]));
  for (const piece of line.text.split(/(@\d{5,20})/)) {
    const number = piece.slice(1);
    if (piece[0] === "@" && mentioned.has(number)) {
      made.append(el("span", { className: "mention", textContent: `@${names.get(number) || number}` }));
    } else made.append(piece);
  }
  return made;
}
