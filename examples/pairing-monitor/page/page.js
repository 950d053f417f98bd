// Asks for the device's code each second; takes it away when it expires, also if nobody answers any more.
const [device, token, status, qr, pairing] = ["device", "token", "status", "qr", "pairing"].map((id) => document.getElementById(id));
let asking, expiry;

function show({ qr: image = null, pairing: code = null, expires_in_ms: left = 0 }, text) {
  clearTimeout(expiry);
  qr.hidden = !image;
  if (image) qr.src = image;
  else qr.removeAttribute("src");
  pairing.value = code ?? "";
  status.textContent = text;
  if (image || code) expiry = setTimeout(() => show({}, "expired"), left);
}

async function ask() {
  const answer = await fetch(`codes/${encodeURIComponent(device.value)}`, { headers: { authorization: `Bearer ${token.value}` } });
  if (!answer.ok) {
    clearInterval(asking);
    show({}, { 401: "This token is not known.", 403: "This device is not yours to see." }[answer.status] ?? "Out of order.");
    return;
  }
  const code = await answer.json();
  show(code, code.qr || code.pairing ? "Scan or type this with WhatsApp." : "No code now; waiting.");
}

document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault(); // the token stays in this page: in no URL, history or storage
  clearInterval(asking);
  asking = setInterval(() => ask().catch(() => (status.textContent = "No answer; waiting.")), 1000);
});
