package balancer

// changed has a backend's change told.
func (p *Pool) changed(c Change) {
	if tell := p.onChange; tell != nil {
		p.news = append(p.news, func() { tell(c) })
	}
}

// changedTier has a failover told.
func (p *Pool) changedTier(c TierChange) {
	if tell := p.onTierChange; tell != nil {
		p.news = append(p.news, func() { tell(c) })
	}
}

// notify tells what has changed. It is called with the lock held, and lets it go while it tells. Whoever comes while another
// goroutine is telling leaves its news to that one: so they are told one at a time and in order, and who is told may itself
// call the pool.
func (p *Pool) notify() {
	if len(p.news) == 0 || p.telling {
		return
	}
	p.telling = true
	defer func() { p.telling = false }()
	for len(p.news) > 0 {
		news := p.news
		p.news = nil
		p.tell(news)
	}
}

// tell tells with the lock let go, and takes it again even if who is told panics.
func (p *Pool) tell(news []func()) {
	p.mu.Unlock()
	defer p.mu.Lock()
	for _, say := range news {
		say()
	}
}
