package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// journal is a file that outlives the process: what was lent, before a peer is told so. The zero value is none.
type journal struct {
	file    string
	self    string // whose it is
	written noted
	at      time.Time
}

type noted struct {
	Self string `json:"balancer"`
	Inc  uint64 `json:"process"`
	Lent Lent   `json:"lent"`

	Unknown bool `json:"unknown,omitempty"` // more may be lent: the process did not know what the one before has lent
}

// read returns what the process before has noted; Lent is nil where nobody knows. No file in a directory that is there means that
// nothing was ever lent.
func (j *journal) read() (noted, error) {
	if j.file == "" {
		return noted{}, nil
	}
	text, err := os.ReadFile(j.file)
	if errors.Is(err, fs.ErrNotExist) {
		return noted{Lent: Lent{}}, nil
	}
	if err != nil {
		return noted{}, err
	}
	var n noted
	if err := json.Unmarshal(text, &n); err != nil {
		return noted{}, fmt.Errorf("%s: %w", j.file, err)
	}
	if n.Self != "" && n.Self != j.self { // before it was noted, nobody's
		return noted{}, fmt.Errorf("%s: it is of the balancer %.100q, and this one is %s", j.file, n.Self, j.self)
	}
	if n.Lent == nil {
		n.Lent = Lent{}
	}
	for key, byPeer := range n.Lent {
		for name, sessions := range byPeer {
			if sessions < 0 || sessions > numberMost {
				return noted{}, fmt.Errorf("%s: %.100q lent to %.100q: %d sessions", j.file, key, name, sessions)
			}
		}
	}
	return n, nil
}

// covers tells whether what is noted is at least this.
func (n *noted) covers(lent Lent) bool {
	for key, byPeer := range lent {
		for name, sessions := range byPeer {
			if n.Lent[key][name] < sessions {
				return false
			}
		}
	}
	return true
}

// tidyTime is how long more may be noted than is lent.
const tidyTime = 10 * time.Second

// note writes what is lent, unless what is written covers it and is not old.
func (j *journal) note(now time.Time, n noted) error {
	same := j.written.Inc == n.Inc && j.written.Unknown == n.Unknown
	if j.file == "" || same && j.written.covers(n.Lent) && (now.Sub(j.at) < tidyTime || n.covers(j.written.Lent)) {
		return nil
	}
	n.Self = j.self
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := writeSynced(j.file+".new", text); err != nil {
		return err
	}
	if err := os.Rename(j.file+".new", j.file); err != nil {
		return err
	}
	if err := syncDirectory(filepath.Dir(j.file)); err != nil {
		return err
	}
	j.written, j.at = n, now
	return nil
}

// writeSynced writes a file that is on the disk when it returns: a machine may fall, too.
func writeSynced(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // in the state directory
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDirectory has the names in a directory on the disk when it returns: until then a machine that falls may find the file before.
func syncDirectory(name string) error {
	d, err := os.Open(name) //nolint:gosec // the state directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
