// The page: which phone and which chat are open (kept in the address, #number/chat), and what a person does with them.

import { api, Refused } from "./api.js";
import { $, box, toast } from "./boxes.js";
import { called, chatRow, conversation, deviceRow, el, face, fill, inShort, phoneRow, shownNumber } from "./drawing.js";

const state = { phones: [], number: null, chat: null, view: null, replyTo: null };
const readAlready = new Set(); // a message is read once, whatever the answer
let following = new AbortController();

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const attempt = (promise) => promise.catch((error) => toast(error.message));
const namesOf = (phones) => new Map(phones.map((phone) => [phone.number, phone.name]));
const unread = (chat) => chat.lines.filter((line) => !line.from_me && line.status !== "read").length;

function address() {
  const [number, chat] = location.hash.slice(1).split("/").map(decodeURIComponent);
  return { number: number || null, chat: chat || null };
}

function go(number, chat) {
  location.hash = chat ? `${number}/${encodeURIComponent(chat)}` : number;
}

// What is there

async function refreshPhones() {
  const before = state.phones;
  state.phones = await api.phones();
  drawPhones();
  if (String([...namesOf(before)]) !== String([...namesOf(state.phones)])) draw();
}

async function watchPhones() {
  for (;;) {
    try {
      await refreshPhones();
      $("#away").hidden = true;
    } catch {
      $("#away").hidden = false;
    }
    await pause(2000);
  }
}

// Follows one phone until another one is opened: each answer is the whole phone, the next one comes when it changed.
async function follow(number) {
  following.abort();
  following = new AbortController();
  const { signal } = following;
  let version = null;
  while (!signal.aborted) {
    try {
      const view = await (version === null ? api.show(number, signal) : api.changes(number, version, signal));
      if (signal.aborted) return;
      version = view.version;
      state.view = view;
      draw();
      await refreshPhones();
    } catch (error) {
      if (signal.aborted) return;
      version = null;
      if (error instanceof Refused && error.status === 404) return leave();
      await pause(1000);
    }
  }
}

function leave() {
  history.replaceState(null, "", location.pathname);
  navigate();
}

function navigate() {
  const { number, chat } = address();
  const another = number !== state.number;
  if (another || chat !== state.chat) reply(null);
  Object.assign(state, { number, chat });
  if (another) {
    state.view = null;
    following.abort();
    if (number) follow(number);
  }
  draw();
  drawPhones();
  if (chat) $("#text").focus();
}

// What is shown

function drawPhones() {
  fill($("#phones"), state.phones.map((phone) => phoneRow(phone, phone.number === state.number)));
  $("#welcome").hidden = state.number !== null;
  $("#welcome h2").textContent = state.phones.length ? "Choose a phone" : "No phone yet";
  const here = state.phones.find((phone) => phone.number === state.number);
  if (here) drawAbout(here);
}

function draw() {
  const shown = state.view !== null;
  $("#device").hidden = $("#about").hidden = !shown;
  if (!shown) return;
  const { phone } = state.view;
  $("#owner").textContent = called(phone.number, phone.name);
  $("#owner-number").textContent = phone.name ? shownNumber(phone.number) : "";
  $("#chats-screen").hidden = state.chat !== null;
  $("#chat-screen").hidden = state.chat === null;
  drawChats();
  if (state.chat) drawChat();
  drawAbout(phone);
  $("#failures").hidden = state.view.failures.length === 0;
  $("#failures").textContent = `Could not be decrypted: ${state.view.failures.length}`;
}

function drawChats() {
  const rows = state.view.chats.map((chat) => chatRow(chat, unread(chat)));
  fill($("#chats"), rows.length ? rows : [
    el("li", { className: "empty", textContent: "No chats yet. Write to a number below, or to this one from elsewhere." })]);
}

function drawChat() {
  const names = namesOf(state.phones);
  const chat = state.view.chats.find((one) => one.number === state.chat)
    || { number: state.chat, name: names.get(state.chat) || "", typing: false, lines: [] };
  const head = face(chat.number, chat.name);
  head.id = "peer-face";
  $("#peer-face").replaceWith(head);
  $("#peer").textContent = called(chat.number, chat.name);
  $("#peer-state").textContent = chat.typing ? "typing…" : chat.name ? shownNumber(chat.number) : "";
  $("#peer-state").classList.toggle("typing", chat.typing);
  const list = $("#messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  const before = list.dataset.last;
  fill(list, conversation(chat.lines, chat.typing, names));
  list.dataset.last = `${state.number}/${state.chat}/${chat.lines.at(-1)?.id}`;
  if (atEnd || (before !== list.dataset.last && chat.lines.at(-1)?.from_me)) list.scrollTop = list.scrollHeight;
  markRead(chat);
}

function drawAbout(phone) {
  fill($("#devices"), phone.devices.length ? phone.devices.map(deviceRow) : [
    el("li", { className: "none", textContent: "None. Link a gateway as with a real phone." })]);
  $("#online").checked = phone.online;
  $("#auto-read").checked = phone.auto_read;
}

function markRead(chat) {
  if (document.hidden) return;
  for (const line of chat.lines) {
    const key = `${state.number}/${line.id}`;
    if (line.from_me || line.status === "read" || readAlready.has(key)) continue;
    readAlready.add(key);
    api.read(state.number, line.id).catch(() => readAlready.delete(key));
  }
}

// What a person does

function reply(id) {
  state.replyTo = id;
  const line = id && state.view.chats.flatMap((chat) => chat.lines).find((one) => one.id === id);
  $("#quoting").hidden = !line;
  $("#quoted").textContent = line ? inShort(line) : "";
  if (line) $("#text").focus();
}

async function write() {
  const text = $("#text").value;
  if (!text.trim()) return;
  const { number, chat, replyTo } = state;
  $("#text").value = "";
  grow();
  typing(false);
  reply(null);
  try {
    await api.send(number, chat, text, replyTo);
  } catch (error) {
    toast(error.message);
    if (!$("#text").value) $("#text").value = text;
  }
}

let told = null; // who was told by whom that somebody types, and when
let silence;

function typing(on) {
  clearTimeout(silence);
  if (on) silence = setTimeout(() => typing(false), 4000);
  const { number, chat } = on ? state : told || {};
  if (!number || (on && told?.chat === chat && told.number === number && Date.now() - told.at < 8000)) return;
  told = on ? { number, chat, at: Date.now() } : null;
  api.typing(number, chat, on).catch(() => {});
}

function grow() {
  const field = $("#text");
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}

function linked({ device }) {
  toast(`Linked: it is device ${device} now.`);
  return refreshPhones();
}

const openNewPhone = box($("#new-phone-box"), async () => {
  const phone = await api.addPhone($("#new-number").value, $("#new-name").value.trim());
  await refreshPhones();
  go(phone.number);
});

const openLink = box($("#link-box"), async () => {
  const text = $("#link-text").value.trim(), url = $("#link-url").value.trim();
  const number = state.number, isCode = /^[0-9A-Z]{4}[- ]?[0-9A-Z]{4}$/i.test(text);
  if (!text === !url) throw new Error("Fill in one of the two.");
  await linked(await (url ? api.scanAt(number, url) : isCode ? api.pairCode(number, text) : api.scan(number, text)));
});

function onRow(list, selector, act) {
  $(list).addEventListener("click", (event) => {
    const found = event.target.closest(selector);
    if (found) act(found.dataset);
  });
}

onRow("#phones", ".phone", ({ number }) => go(number));
onRow("#chats", ".chat", ({ number }) => go(state.number, number));
onRow("#messages", ".reply", ({ id }) => reply(id));
onRow("#devices", ".unlink", ({ device }) => attempt(api.unlink(state.number, Number(device)).then(refreshPhones)));
$("#new-phone").addEventListener("click", openNewPhone);
$("#link").addEventListener("click", openLink);
$("#back").addEventListener("click", () => go(state.number));
$("#unquote").addEventListener("click", () => reply(null));
$("#online").addEventListener("change", (event) => attempt(api.change(state.number, { online: event.target.checked })));
$("#auto-read").addEventListener("change", (event) => attempt(api.change(state.number, { auto_read: event.target.checked })));
$("#start").addEventListener("submit", (event) => {
  event.preventDefault();
  const number = $("#start-number").value.replace(/\D/g, "");
  if (number.length < 5) return toast("A number has its country code first, as 62 812 3456 789.");
  $("#start-number").value = "";
  go(state.number, number);
});
$("#write").addEventListener("submit", (event) => { event.preventDefault(); write(); });
$("#text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); write(); }
});
$("#text").addEventListener("input", (event) => { grow(); typing(event.target.value.trim() !== ""); });
document.addEventListener("visibilitychange", () => { if (state.view && state.chat) drawChat(); });
window.addEventListener("hashchange", navigate);

navigate();
watchPhones();
