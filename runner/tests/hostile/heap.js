// Fills the heap.
const held = [];
for (;;) held.push({ number: held.length, text: `text ${held.length}` });
