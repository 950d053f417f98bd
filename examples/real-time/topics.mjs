// What the page shows and what is forwarded. `connection.auth` is not among it: pairing codes are credentials.

export const STREAM = "EVENTS";
export const TOPICS = ["message.>", "call", "connection.open", "connection.closed", "connection.timeout", "connection.logout"].map(
  (type) => `events.chatlevel.${type}`,
);
