// Made from the schemas in this folder by `make gen`. Types alone, nothing to run: `import type` them.
//
// A property that may be absent or null means the same either way: not known. Fields and types may be added, so have a
// default where you look at `type`, and ignore what you do not know.

/** The envelope of every event: CloudEvents 1.0 attributes and the extensions we use. */
export interface CloudEvent<Type extends string, Data> {
  /** Stable: the same on each of the provider's retries. Drop what you have seen. */
  id: string;
  /** Which device of which source. Such as "/chatlevel/devices/480213". */
  source: string;
  /** Domain, type and schema major. Such as "messaging.message.received.v1". */
  type: Type;
  /** The object: a message or call id. */
  subject?: string | null;
  /** When it happened, by the provider's clock. */
  time: string;
  /** When the bridge received it. */
  recordedtime: string;
  /** The schema of `data`. */
  dataschema: string;
  /** The record's key: events of one key keep their order. */
  partitionkey: string;
  /** When the content stops being of use: pairing codes, 60 s after `time` (an assumption). */
  expirytime?: string | null;
  /** The trace the webhook came with (W3C). */
  traceparent?: string | null;
  /** As `dataschema` says. */
  data: Data;
  specversion: "1.0";
  datacontenttype: "application/json";
}

/** Somebody calls the device, or that call changed its state. */
export interface Call {
  /** The gateway's id of the connected device, as text. Such as "480213". */
  device_id: string;
  /** The call's id; the same in each of its states. */
  call_id: string;
  /** The other party. */
  contact: Contact;
  /** `offer`, `accept`, `timeout` or `reject`; new states may come. Such as "offer". */
  status: string;
  /** Whether it is a video call. */
  is_video?: boolean | null;
  /** Whether a group is called. */
  is_group?: boolean | null;
  /** When the gateway says the call was, UTC. */
  called_at?: string | null;
  /** What the gateway sent and this schema has no place for, unchanged, by its path in the gateway's data (`isForwarded`, `update.pinned`); `envelope.` and `batch.` stand before what was around the data. */
  extra?: { [name: string]: unknown };
}

/** The sender's own payload, as it sent it. */
export type CloudeventsHttpPayload = { [name: string]: unknown };

/** The device waits for pairing. The codes are credentials: whoever has one can take the account over. The event expires after the life of a code (`expirytime`); where the gateway does not state it, 60 s are assumed. */
export interface ConnectionAuth {
  /** The gateway's id of the connected device, as text. Such as "480213". */
  device_id: string;
  /** To be scanned, a data URL of a PNG. A credential. */
  qr_code?: string | null;
  /** To be typed on the phone. A credential. */
  pairing_code?: string | null;
  /** What the gateway sent and this schema has no place for, unchanged, by its path in the gateway's data (`isForwarded`, `update.pinned`); `envelope.` and `batch.` stand before what was around the data. */
  extra?: { [name: string]: unknown };
}

/** The device lost its connection to WhatsApp. */
export interface ConnectionClosed {
  /** The gateway's id of the connected device, as text. Such as "480213". */
  device_id: string;
  /** Why, in the gateway's words. */
  reason?: string | null;
  /** What the gateway sent and this schema has no place for, unchanged, by its path in the gateway's data (`isForwarded`, `update.pinned`); `envelope.` and `batch.` stand before what was around the data. */
  extra?: { [name: string]: unknown };
}

/** The device was logged out of its account and must be paired again. */
export interface ConnectionLogout {
  /** The gateway's id of the connected device, as text. Such as "480213". */
  device_id: string;
  /** What the gateway sent and this schema has no place for, unchanged, by its path in the gateway's data (`isForwarded`, `update.pinned`); `envelope.` and `batch.` stand before what was around the data. */
  extra?: { [name: string]: unknown };
}

/** The device is connected to WhatsApp. */
export interface ConnectionOpen {
  /** The gateway's id of the connected device, as text. Such as "480213". */
  device_id: string;
  /** The account's own name. */
  display_name?: string | null;
  /** In E.164: plus, country code, number. Such as "+5511912340000". */
  phone_number?: string | null;
  /** What the gateway sent and this schema has no place for, unchanged, by its path in the gateway's data (`isForwarded`, `update.pinned`); `envelope.` and `batch.` stand before what was around the data. */
  extra?: { [name: string]: unknown };
}

/** Nobody paired the device in time. */
export interface ConnectionTimeout {
  /** The gateway's id of the connected device, as text. Such as "480213". */
  device_id: string;
  /** What the gateway sent and this schema has no place for, unchanged, by its path in the gateway's data (`isForwarded`, `update.pinned`); `envelope.` and `batch.` stand before what was around the data. */
  extra?: { [name: string]: unknown };
}

/** The other party of a message or call. */
export interface Contact {
  /** The best identifier there is: the phone number's digits, else the LID. */
  id: string;
  /** What `id` is: `phone`, `lid`, `group`, or `other`; new kinds may come. Such as "phone". */
  kind: string;
  /** In E.164: plus, country code, number. Such as "+5511912340000". */
  phone_number?: string | null;
  /** WhatsApp's privacy id of the person. */
  lid?: string | null;
  /** The name the person shows. */
  display_name?: string | null;
}

/** The sender's own payload, as it sent it. */
export type GenericPayload = { [name: string]: unknown };

/** The sender's own payload, as it sent it. */
export type GithubPayload = { [name: string]: unknown };

/** A message was deleted for everybody. */
export interface MessageDeleted {
  /** The gateway's id of the connected device, as text. Such as "480213". */
  device_id: string;
  /** The message's id in WhatsApp. Such as "3EB0A1B2C3D4E5F60718". */
  message_id: string;
  /** The other party. */
  contact: Contact;
  /** Whether the device's own message was deleted. */
  from_me?: boolean | null;
  /** What the gateway sent and this schema has no place for, unchanged, by its path in the gateway's data (`isForwarded`, `update.pinned`); `envelope.` and `batch.` stand before what was around the data. */
  extra?: { [name: string]: unknown };
}

/** Somebody wrote to the device. */
export interface MessageReceived {
  /** The gateway's id of the connected device, as text. Such as "480213". */
  device_id: string;
  /** The message's id in WhatsApp. Such as "3EB0A1B2C3D4E5F60718". */
  message_id: string;
  /** The other party. */
  contact: Contact;
  /** The kind of content; new kinds may come. Such as "text"; "image". */
  message_type: string;
  /** What was written, an open object: `text` for text messages; other kinds have other fields. Such as {"text": "Bom dia!"}. */
  content: { [name: string]: unknown };
  /** What the gateway sent and this schema has no place for, unchanged, by its path in the gateway's data (`isForwarded`, `update.pinned`); `envelope.` and `batch.` stand before what was around the data. */
  extra?: { [name: string]: unknown };
}

/** The device wrote to somebody. */
export interface MessageSent {
  /** The gateway's id of the connected device, as text. Such as "480213". */
  device_id: string;
  /** The message's id in WhatsApp. Such as "3EB0A1B2C3D4E5F60718". */
  message_id: string;
  /** The other party. */
  contact: Contact;
  /** The kind of content; new kinds may come. Such as "text"; "image". */
  message_type: string;
  /** What was written, an open object: `text` for text messages; other kinds have other fields. Such as {"text": "Bom dia!"}. */
  content: { [name: string]: unknown };
  /** What the gateway sent and this schema has no place for, unchanged, by its path in the gateway's data (`isForwarded`, `update.pinned`); `envelope.` and `batch.` stand before what was around the data. */
  extra?: { [name: string]: unknown };
}

/** A message got further on its way. */
export interface MessageStatus {
  /** The gateway's id of the connected device, as text. Such as "480213". */
  device_id: string;
  /** The message's id in WhatsApp. Such as "3EB0A1B2C3D4E5F60718". */
  message_id: string;
  /** The other party. */
  contact: Contact;
  /** How far it got; new states may come. Such as "sent"; "delivered"; "read"; "failed". */
  status: string;
  /** What the gateway sent and this schema has no place for, unchanged, by its path in the gateway's data (`isForwarded`, `update.pinned`); `envelope.` and `batch.` stand before what was around the data. */
  extra?: { [name: string]: unknown };
}

/** A message was edited. */
export interface MessageUpdated {
  /** The gateway's id of the connected device, as text. Such as "480213". */
  device_id: string;
  /** The message's id in WhatsApp. Such as "3EB0A1B2C3D4E5F60718". */
  message_id: string;
  /** The other party. */
  contact: Contact;
  /** Whether the device's own message was edited. */
  from_me?: boolean | null;
  /** The kind of the new content. */
  message_type?: string | null;
  /** The new content, an open object. */
  content?: { [name: string]: unknown } | null;
  /** What the gateway sent and this schema has no place for, unchanged, by its path in the gateway's data (`isForwarded`, `update.pinned`); `envelope.` and `batch.` stand before what was around the data. */
  extra?: { [name: string]: unknown };
}

/** The sender's own payload, as it sent it. */
export type ShopifyPayload = { [name: string]: unknown };

/** The sender's own payload, as it sent it. */
export type SlackPayload = { [name: string]: unknown };

/** The sender's own payload, as it sent it. */
export type StandardWebhooksPayload = { [name: string]: unknown };

/** The sender's own payload, as it sent it. */
export type StripePayload = { [name: string]: unknown };

/** The sender's own payload, as it sent it. */
export type SvixPayload = { [name: string]: unknown };

/** The sender's own payload, as it sent it. */
export type TelegramPayload = { [name: string]: unknown };

/** The sender's own payload, as it sent it. */
export type TwilioPayload = { [name: string]: unknown };

/** An event of a kind this version does not know, kept whole. */
export interface Unknown {
  /** Whose event it is. Such as "chatlevel". */
  provider: string;
  /** The provider's own name of the event, cut after 128 characters. Such as "presence.update". */
  event: string;
  /** The device's id; null where the event is of none. */
  device_id?: string | null;
  /** The event's data as the provider sent it. */
  payload: unknown;
  /** What the gateway sent and this schema has no place for, unchanged, by its path in the gateway's data (`isForwarded`, `update.pinned`); `envelope.` and `batch.` stand before what was around the data. */
  extra?: { [name: string]: unknown };
}

export type CloudeventsHttpEvent =
  | CloudEvent<`cloudevents-http.${string}.v1`, CloudeventsHttpPayload>;

export type GenericEvent =
  | CloudEvent<`generic.${string}.v1`, GenericPayload>;

export type GithubEvent =
  | CloudEvent<`github.${string}.v1`, GithubPayload>;

export type MessagingEvent =
  | CloudEvent<"messaging.call.v1", Call>
  | CloudEvent<"messaging.connection.auth.v1", ConnectionAuth>
  | CloudEvent<"messaging.connection.closed.v1", ConnectionClosed>
  | CloudEvent<"messaging.connection.logout.v1", ConnectionLogout>
  | CloudEvent<"messaging.connection.open.v1", ConnectionOpen>
  | CloudEvent<"messaging.connection.timeout.v1", ConnectionTimeout>
  | CloudEvent<"messaging.message.deleted.v1", MessageDeleted>
  | CloudEvent<"messaging.message.received.v1", MessageReceived>
  | CloudEvent<"messaging.message.sent.v1", MessageSent>
  | CloudEvent<"messaging.message.status.v1", MessageStatus>
  | CloudEvent<"messaging.message.updated.v1", MessageUpdated>
  | CloudEvent<"messaging.unknown.v1", Unknown>;

export type ShopifyEvent =
  | CloudEvent<`shopify.${string}.v1`, ShopifyPayload>;

export type SlackEvent =
  | CloudEvent<`slack.${string}.v1`, SlackPayload>;

export type StandardWebhooksEvent =
  | CloudEvent<`standard-webhooks.${string}.v1`, StandardWebhooksPayload>;

export type StripeEvent =
  | CloudEvent<`stripe.${string}.v1`, StripePayload>;

export type SvixEvent =
  | CloudEvent<`svix.${string}.v1`, SvixPayload>;

export type TelegramEvent =
  | CloudEvent<`telegram.${string}.v1`, TelegramPayload>;

export type TwilioEvent =
  | CloudEvent<`twilio.${string}.v1`, TwilioPayload>;

/** What a record's value is, unless BRIDGE_EVENT_FORMAT=binary. */
export type BridgeEvent =
  | CloudeventsHttpEvent
  | GenericEvent
  | GithubEvent
  | MessagingEvent
  | ShopifyEvent
  | SlackEvent
  | StandardWebhooksEvent
  | StripeEvent
  | SvixEvent
  | TelegramEvent
  | TwilioEvent;
