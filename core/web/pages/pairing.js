"use strict";
// The page asks every second or so how far pairing is, and shows that. Only its first question and the button begin to
// pair: a page that lies open must not ask for codes for ever.
const EVERY = 1500;
const UNDER_WAY = ["pairing", "connected", "restricted"];
const token = new URLSearchParams(location.search).get("token");
const at = (id) => document.getElementById(id);

let known = null; // the last answer
let drift = 0; // how far this clock is ahead of the gateway's, ms
let window_ = 1; // how long the code that is shown was good for when it came, ms
let codeUntil = null;
let isRefused = false;
let mayAsk = 0; // when the gateway lets pairing begin again

function path(name, more = {}) {
  const query = new URLSearchParams({ ...more, ...(token ? { token } : {}) }).toString();
  return query ? `${name}?${query}` : name;
}

async function ask(url, options) {
  const response = await fetch(url, { cache: "no-store", ...options });
  const date = Date.parse(response.headers.get("Date") ?? "");
  if (date) drift = Date.now() - date;
  const body = await response.json();
  return { ok: response.ok, status: response.status, body };
}

const msLeft = (until) => Math.max(0, Date.parse(until) - (Date.now() - drift));
const inSeconds = (ms) => `${Math.ceil(ms / 1000)} s`;

function show(view, says, isBad = false) {
  document.querySelector("main").dataset.view = view;
  for (const part of document.querySelectorAll("[data-in]")) part.hidden = !part.dataset.in.split(" ").includes(view);
  if (at("says").textContent !== says) at("says").textContent = says; // or it would be read aloud again
  at("says").className = isBad ? "warn" : "soft";
}

function showCode(answer) {
  if (answer.qr !== known?.qr) {
    at("changed").hidden = !known?.qr;
    setTimeout(() => { at("changed").hidden = true; }, 5000);
    at("qr").src = answer.image;
    window_ = Math.max(1, msLeft(answer.expires_at));
  }
  show("scan", "Scan this code with the phone. Pindai kode ini dengan ponsel.");
}

// Once a phone has taken the code, the session moves to another process: it is disconnected for a moment.
const isLinking = (answer) => answer.state === "connecting" || (answer.state === "disconnected" && Boolean(answer.phone));

function take(answer) {
  at("tenant").textContent = ` · ${answer.tenant}`;
  if (answer.connected || answer.state === "restricted") {
    at("phone").textContent = answer.phone ? `+${answer.phone}` : "";
    show("done", answer.connected ? "" : (answer.reason ?? ""));
  } else if (answer.state === "pairing") {
    if (answer.qr) showCode(answer);
    else show("waiting", "Waiting for WhatsApp… Menunggu WhatsApp…");
  } else if (isLinking(answer)) {
    show("waiting", `The phone is linked; connecting… Menyambungkan… ${answer.reason ?? ""}`);
  } else {
    show("again", answer.reason ?? answer.state, true);
  }
  if (answer.code) showPhoneCode(answer.code, answer.code_expires_at);
  known = answer;
}

function showPhoneCode(code, until) {
  at("code").textContent = code;
  at("code-shown").hidden = false;
  codeUntil = until;
}

function refused(status, problem) {
  if (status === 401) {
    show("over", problem.detail, true);
    return false;
  }
  if (problem.code === "pairing_too_soon") mayAsk = Date.now() + problem.retry_after * 1000;
  if (status === 503 && known?.qr) return true;
  isRefused = true;
  show("again", problem.detail, true);
  return true;
}

async function look(more) {
  try {
    const { ok, status, body } = await ask(path("../qr", more));
    if (!ok) return refused(status, body);
    // Why it was refused stays to be read until something has changed.
    if (isRefused && !isLinking(body) && !UNDER_WAY.includes(body.state)) return true;
    isRefused = false;
    take(body);
    return document.querySelector("main").dataset.view !== "done";
  } catch {
    at("says").textContent = "The gateway cannot be reached; trying again… Mencoba lagi…";
  }
  return true;
}

async function begin() {
  known = codeUntil = null;
  isRefused = false;
  at("code-shown").hidden = true;
  show("waiting", "Waiting for WhatsApp… Menunggu WhatsApp…");
  return look({});
}

async function follow() {
  let goesOn = await begin();
  while (goesOn) {
    await new Promise((resolve) => setTimeout(resolve, EVERY));
    const isAsked = again.asked;
    again.asked = false;
    goesOn = isAsked ? await begin() : await look({ start: "0" });
  }
}

function again() {
  again.asked = true;
  at("again").disabled = true;
}

function tick() {
  if (known?.expires_at) {
    const ms = msLeft(known.expires_at);
    at("bar").value = Math.min(1, ms / window_);
    at("left").textContent = `new code in ${inSeconds(ms)}`;
  }
  if (codeUntil) at("code-left").textContent = `(${inSeconds(msLeft(codeUntil))})`;
  const wait = mayAsk - Date.now();
  at("again").disabled = Boolean(again.asked) || wait > 0;
  at("again").textContent = wait > 0 ? `Start again in ${inSeconds(wait)}` : "Start again / Mulai lagi";
}

at("again").addEventListener("click", again);
at("number-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("number-says").textContent = "";
  at("ask-code").disabled = true;
  try {
    const { ok, body } = await ask(path("../pair-code"), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ number: at("number").value }),
    });
    if (ok) showPhoneCode(body.code, body.expires_at);
    else at("number-says").textContent = body.detail;
  } catch {
    at("number-says").textContent = "The gateway cannot be reached; try again.";
  }
  at("ask-code").disabled = false;
});

setInterval(tick, 250);
follow();
