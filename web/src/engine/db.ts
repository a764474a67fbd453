// What stays in the browser: one IndexedDB for each account.

import type { Conversation, Message } from './model';

const VERSION = 2;

type StoreName = 'messages' | 'conversations' | 'files' | 'values';

/** What is to be sent, in the order of writing. */
export interface Outgoing {
  /** Given by the database. */
  seq?: number;
  peer: string;
  /** The envelope, as it goes out. */
  body: string;
  /** The message whose progress it is; absent for receipts, reactions and the like. */
  id?: string;
}

/** A file that is to go to the server, under the Message-ID that it will have. */
export interface KeptFile {
  id: string;
  peer: string;
  blob: Blob;
  thumbnail?: Blob;
  /** By which the server knows the upload. */
  tid: string;
}

export class Database {
  private constructor(private readonly db: IDBDatabase) {}

  static open(account: string): Promise<Database> {
    return new Promise((resolve, reject) => {
      const request = indexedDB.open(`chappe:${account}`, VERSION);
      request.onupgradeneeded = ({ oldVersion }) => {
        const db = request.result;
        if (oldVersion < 1) {
          const messages = db.createObjectStore('messages', { keyPath: ['peer', 'mine_', 'id'] });
          messages.createIndex('order', ['peer', 'order']);
          db.createObjectStore('conversations', { keyPath: 'peer' });
          db.createObjectStore('outbox', { keyPath: 'seq', autoIncrement: true });
        }
        db.createObjectStore('files', { keyPath: 'id' });
        db.createObjectStore('values');
      };
      request.onsuccess = () => {
        // Another tab wants a newer version: it shall not wait for us.
        request.result.onversionchange = () => request.result.close();
        resolve(new Database(request.result));
      };
      request.onerror = () => reject(request.error);
      request.onblocked = () => reject(new Error('another tab holds an older version of the database'));
    });
  }

  static erase(account: string): Promise<void> {
    return new Promise((resolve) => {
      const request = indexedDB.deleteDatabase(`chappe:${account}`);
      request.onsuccess = request.onerror = request.onblocked = () => resolve();
    });
  }

  close(): void {
    this.db.close();
  }

  message(peer: string, mine: boolean, id: string): Promise<Message | undefined> {
    return this.get('messages', [peer, mine ? 1 : 0, id]);
  }

  /** Writes messages, conversations and what is to be sent: all of it, or nothing. A file that is there now is not kept here any more. */
  async put(messages: Message[], conversations: Conversation[], outgoing: Outgoing[] = [], file?: KeptFile | string): Promise<void> {
    const transaction = this.db.transaction(['messages', 'conversations', 'outbox', 'files'], 'readwrite');
    for (const message of messages) {
      // A key cannot hold a boolean.
      transaction.objectStore('messages').put({ ...message, mine_: message.mine ? 1 : 0 });
    }
    for (const conversation of conversations) transaction.objectStore('conversations').put(conversation);
    for (const one of outgoing) transaction.objectStore('outbox').add(one);
    if (typeof file === 'string') transaction.objectStore('files').delete(file);
    else if (file) transaction.objectStore('files').put(file);
    await done(transaction);
  }

  /** The newest `count` messages before `before`, oldest first. */
  page(peer: string, before: number, count: number): Promise<Message[]> {
    const range = IDBKeyRange.bound([peer, 0], [peer, before], false, true);
    const index = this.db.transaction('messages').objectStore('messages').index('order');
    return collect<Message>(index.openCursor(range, 'prev'), count).then((found) => found.reverse());
  }

  /** What is to be sent, the oldest first. */
  outbox(): Promise<(Outgoing & { seq: number })[]> {
    return result(this.db.transaction('outbox').objectStore('outbox').getAll(null, 1000));
  }

  async sent(seq: number): Promise<void> {
    const transaction = this.db.transaction('outbox', 'readwrite');
    transaction.objectStore('outbox').delete(seq);
    await done(transaction);
  }

  conversations(): Promise<Conversation[]> {
    return result(this.db.transaction('conversations').objectStore('conversations').getAll());
  }

  conversation(peer: string): Promise<Conversation | undefined> {
    return this.get('conversations', peer);
  }

  async remove(peer: string): Promise<void> {
    const transaction = this.db.transaction(['messages', 'conversations'], 'readwrite');
    const range = IDBKeyRange.bound([peer, 0], [peer, 2]);
    transaction.objectStore('messages').delete(range);
    transaction.objectStore('conversations').delete(peer);
    await done(transaction);
  }

  /** Removes one message, and the file that it was to become. */
  async drop(message: Message): Promise<void> {
    const transaction = this.db.transaction(['messages', 'files'], 'readwrite');
    transaction.objectStore('messages').delete([message.peer, message.mine ? 1 : 0, message.id]);
    transaction.objectStore('files').delete(message.id);
    await done(transaction);
  }

  /** Ids of the files that wait. */
  async waitingFiles(): Promise<string[]> {
    const keys = await result(this.db.transaction('files').objectStore('files').getAllKeys());
    return keys.map(String);
  }

  file(id: string): Promise<KeptFile | undefined> {
    return this.get('files', id);
  }

  /** Something else that is remembered. */
  value<T>(name: string): Promise<T | undefined> {
    return this.get('values', name);
  }

  async setValue(name: string, value: unknown): Promise<void> {
    const transaction = this.db.transaction('values', 'readwrite');
    transaction.objectStore('values').put(value, name);
    await done(transaction);
  }

  private get<T>(store: StoreName, key: IDBValidKey): Promise<T | undefined> {
    return result(this.db.transaction(store).objectStore(store).get(key));
  }
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function done(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

function collect<T>(request: IDBRequest<IDBCursorWithValue | null>, count: number): Promise<T[]> {
  const found: T[] = [];
  return new Promise((resolve, reject) => {
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor || found.length >= count) return resolve(found);
      found.push(cursor.value as T);
      cursor.continue();
    };
    request.onerror = () => reject(request.error);
  });
}
