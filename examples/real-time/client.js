// Puts each event at the top. The browser comes again by itself when the connection is lost, and misses nothing.
const list = document.getElementById("events");
const status = document.getElementById("status");
const source = new EventSource("events");

source.onopen = () => (status.textContent = "live");
source.onerror = () => (status.textContent = "connecting");
source.onmessage = ({ data }) => {
  const event = JSON.parse(data);
  const { contact, content } = event.data;
  const item = document.createElement("li");
  // as text, never as HTML: strangers write it
  item.textContent = [event.time, event.type, contact?.display_name ?? contact?.id, content?.text].filter(Boolean).join(" · ");
  list.prepend(item);
  while (list.children.length > 100) list.lastChild.remove();
};
