// Undo and redo over the widget's texts.

const MOST = 200;

export class History {
  constructor(text) {
    this.reset(text);
  }

  reset(text) {
    this.texts = [text];
    this.at = 0;
  }

  push(text) {
    if (text === this.texts[this.at]) return;
    this.texts = [...this.texts.slice(0, this.at + 1), text].slice(-MOST);
    this.at = this.texts.length - 1;
  }

  get canUndo() {
    return this.at > 0;
  }

  get canRedo() {
    return this.at < this.texts.length - 1;
  }

  /** The text so many steps back (-1) or on (1). */
  step(by) {
    this.at = Math.min(this.texts.length - 1, Math.max(0, this.at + by));
    return this.texts[this.at];
  }
}
