// Asks for the device's code each second; takes it away when it expires, also if nobody answers any more.
const ids = ["device", "token", "status", "code", "whose", "left", "qr", "pairing"];
const [device, token, status, code, whose, left, qr, pairing] = ids.map((id) => document.getElementById(id));
const SECOND_MS = 1000;
const PATIENCE_MS = 5000;
const HOW = "On the phone, in WhatsApp: Linked devices, Link a device. Then ";
const [SCAN, TYPE] = ["scan this", "choose the phone number instead and type this"];
const REFUSED = { 401: "This token is not known.", 403: "This device is not yours to see." };
let asked = 0; // how often somebody pressed the button: an answer to an earlier one is nobody's any more
let expiresAt = 0; // of the code that is shown, by the clock, which goes on while a computer sleeps; 0: none is
let idle = "";

function show({ qr: image = null, pairing: text = null, expires_in_ms: ms = 0 }) {
  if (!image) qr.removeAttribute("src");
  else if (qr.src !== image) qr.src = image;
  pairing.value = text ?? "";
  [qr.hidden, pairing.hidden, code.hidden] = [!image, !text, !image && !text];
  expiresAt = code.hidden ? 0 : Date.now() + ms;
  count();
}

function count() {
  const seconds = Math.ceil((expiresAt - Date.now()) / SECOND_MS);
  left.textContent = `for ${seconds} s more`;
  if (expiresAt && seconds <= 0) {
    show({});
    say((idle = "The code has expired; waiting for the next."));
  }
}

function say(text) {
  if (status.textContent !== text) status.textContent = text; // or it would be read aloud each second
}

function take(found) {
  if (!found.qr && !found.pairing && expiresAt) idle = "That code is done: the device has gone on.";
  show(found);
  if (code.hidden) say(idle);
  else say(`${HOW}${[found.qr && SCAN, found.pairing && TYPE].filter(Boolean).join(", or ")}.`);
}

async function watch(id, authorization) {
  const mine = ++asked;
  show({});
  say((idle = "No code now; waiting for one."));
  whose.textContent = id;
  while (mine === asked) {
    try {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      const answer = await fetch(`codes/${encodeURIComponent(id)}`, { headers: { authorization }, signal });
      const found = answer.ok ? await answer.json() : {};
      if (mine !== asked) return;
      if (answer.status in REFUSED) {
        show({});
        return say(REFUSED[answer.status]);
      }
      if (!answer.ok) throw new Error(answer.status);
      take(found);
    } catch {
      if (mine === asked) say("No answer; asking again."); // what is shown stays until it expires
    }
    await new Promise((resolve) => setTimeout(resolve, SECOND_MS));
  }
}

setInterval(count, SECOND_MS / 4);
document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault(); // the token stays in this page: in no URL, history or storage
  watch(device.value.trim(), `Bearer ${token.value.trim()}`);
});
