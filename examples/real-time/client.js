// Puts each event at the top, and misses none for as long as the page is open.
const list = document.getElementById("events");
const status = document.getElementById("status");
const MAX_EVENTS = 100;
const AGAIN_MS = 2000;
let last = "";

function add(event) {
  const { contact, content } = event.data;
  const item = document.createElement("li");
  const time = document.createElement("time");
  [time.dateTime, time.textContent] = [event.time, new Date(event.time).toLocaleString()];
  // as text, never as HTML: strangers write it
  item.append(time, [event.type, contact?.display_name ?? contact?.id, content?.text].filter(Boolean).join(" · "));
  list.prepend(item);
  while (list.children.length > MAX_EVENTS) list.lastChild.remove();
}

function listen() {
  const source = new EventSource(`events?after=${encodeURIComponent(last)}`);
  source.onopen = () => (status.textContent = "live");
  source.onmessage = ({ data, lastEventId }) => {
    last = lastEventId;
    add(JSON.parse(data));
  };
  source.onerror = () => {
    status.textContent = "connecting";
    // A lost connection the browser makes again by itself; after an answer that is no stream (a proxy's 502) it gives up.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);
  };
}

listen();
